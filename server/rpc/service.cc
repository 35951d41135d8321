#include "server/rpc/service.h"

#include <utility>

#include "server/rpc/estimate.h"
#include "server/rpc/plan.h"
#include "server/rpc/status.h"
#include "server/rpc/stream_reactor.h"
#include "server/rpc/trace_context.h"
#include "server/session/guarded.h"

namespace quantd {
namespace {

// Among the uploads, first come first served: a flood of small calls must not hold them up.
constexpr int kUnaryPriority = 0;

}  // namespace

RpcService::RpcService(Deps deps)
    : deps_(std::move(deps)), capabilities_(MakeCapabilities(deps_.facts)) {}

grpc::ServerBidiReactor<v1::QuantizeRequest, v1::QuantizeResponse>* RpcService::Quantize(
    grpc::CallbackServerContext* context) {
  return new StreamReactor<v1::QuantizeRequest, v1::QuantizeResponse>(context, deps_.sessions);
}

grpc::ServerBidiReactor<v1::DequantizeRequest, v1::DequantizeResponse>* RpcService::Dequantize(
    grpc::CallbackServerContext* context) {
  return new StreamReactor<v1::DequantizeRequest, v1::DequantizeResponse>(context, deps_.sessions);
}

grpc::ServerBidiReactor<v1::MeasureRequest, v1::MeasureResponse>* RpcService::Measure(
    grpc::CallbackServerContext* context) {
  return new StreamReactor<v1::MeasureRequest, v1::MeasureResponse>(context, deps_.sessions);
}

grpc::ServerUnaryReactor* RpcService::Later(grpc::CallbackServerContext* context, const char* what,
                                            std::function<absl::Status()> answer) {
  AcceptTraceParent(context);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  QUANTD_TSAN_RELEASE(reactor);
  // Request and response live until Finish, also when the client goes away meanwhile.
  deps_.submit(kUnaryPriority, [reactor, what, answer = std::move(answer)] {
    QUANTD_TSAN_ACQUIRE(reactor);
    reactor->Finish(ToGrpcStatus(Guarded<absl::Status>(what, answer)));
  });
  return reactor;
}

grpc::ServerUnaryReactor* RpcService::Estimate(grpc::CallbackServerContext* context,
                                               const v1::EstimateRequest* request,
                                               v1::EstimateResponse* response) {
  return Later(context, "estimating", [this, request, response] {
    return quantd::Estimate(*request, deps_.create_job, *deps_.admission, response);
  });
}

grpc::ServerUnaryReactor* RpcService::Plan(grpc::CallbackServerContext* context,
                                           const v1::PlanRequest* request,
                                           v1::PlanResponse* response) {
  return Later(context, "planning", [request, response] { return MakePlan(*request, response); });
}

grpc::ServerUnaryReactor* RpcService::GetCapabilities(grpc::CallbackServerContext* context,
                                                      const v1::GetCapabilitiesRequest*,
                                                      v1::GetCapabilitiesResponse* response) {
  AcceptTraceParent(context);
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  *response = capabilities_;
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace quantd
