// quantd.v1.QuantizationService on gRPC's callback API.
#pragma once

#include "quantd/v1/quantization_service.grpc.pb.h"
#include "server/admission/admission.h"
#include "server/rpc/capabilities.h"
#include "server/session/registry.h"

namespace quantd {

// Thread-safe. Methods return at once: streams belong to sessions, Estimate runs in the ingest pool
// and Plan, which may take a second, in the compute pool.
class RpcService final : public v1::QuantizationService::CallbackService {
 public:
  struct Deps {
    SessionRegistry* sessions = nullptr;  // all outlive the service and its calls
    const Admission* admission = nullptr;
    JobFactory create_job;
    SubmitFn ingest;   // for Estimate
    SubmitFn compute;  // for Plan
    ServerFacts facts;
  };
  explicit RpcService(Deps deps);

  grpc::ServerBidiReactor<v1::QuantizeRequest, v1::QuantizeResponse>* Quantize(
      grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<v1::MeasureRequest, v1::MeasureResponse>* Measure(
      grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<v1::DequantizeRequest, v1::DequantizeResponse>* Dequantize(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Plan(grpc::CallbackServerContext* context,
                                 const v1::PlanRequest* request,
                                 v1::PlanResponse* response) override;
  grpc::ServerUnaryReactor* Estimate(grpc::CallbackServerContext* context,
                                     const v1::EstimateRequest* request,
                                     v1::EstimateResponse* response) override;
  grpc::ServerUnaryReactor* GetCapabilities(grpc::CallbackServerContext* context,
                                            const v1::GetCapabilitiesRequest* request,
                                            v1::GetCapabilitiesResponse* response) override;

 private:
  const Deps deps_;
  const v1::GetCapabilitiesResponse capabilities_;
};

}  // namespace quantd
