#include "server/rpc/service.h"

#include <utility>

#include "server/rpc/estimate.h"
#include "server/rpc/plan.h"
#include "server/rpc/stream_reactor.h"
#include "server/rpc/trace_context.h"
#include "server/rpc/unary_call.h"

namespace quantd {

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

grpc::ServerUnaryReactor* RpcService::Estimate(grpc::CallbackServerContext* context,
                                               const v1::EstimateRequest* request,
                                               v1::EstimateResponse* response) {
  AcceptTraceParent(context);
  return new UnaryCall(
      context, "estimating", deps_.ingest, [this, request, response](const CancelToken&) {
        return quantd::Estimate(*request, deps_.create_job, *deps_.admission, response);
      });
}

grpc::ServerUnaryReactor* RpcService::Plan(grpc::CallbackServerContext* context,
                                           const v1::PlanRequest* request,
                                           v1::PlanResponse* response) {
  AcceptTraceParent(context);
  return new UnaryCall(context, "planning", deps_.compute,
                       [request, response](const CancelToken& cancel) {
                         return MakePlan(*request, cancel, response);
                       });
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
