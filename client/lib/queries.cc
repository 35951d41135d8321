#include "client/lib/queries.h"

#include <chrono>
#include <utility>

#include "client/lib/call_status.h"
#include "grpcpp/client_context.h"
#include "proto/wire/codec.h"
#include "quantd/v1/quantization_service.grpc.pb.h"
#include "workers/core/status_macros.h"

namespace quantd::client {
namespace {

void SetDeadline(grpc::ClientContext* context, absl::Duration deadline) {
  context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(deadline));
}

absl::StatusOr<JobEstimate> Ask(const std::shared_ptr<grpc::Channel>& channel,
                                const v1::EstimateRequest& request, absl::Duration deadline) {
  v1::EstimateResponse response;
  grpc::ClientContext context;
  SetDeadline(&context, deadline);
  auto stub = v1::QuantizationService::NewStub(channel);
  QUANTD_RETURN_IF_ERROR(StatusOf(stub->Estimate(&context, request, &response)));
  JobEstimate estimate;
  estimate.input_bytes = response.input_bytes();
  estimate.output_bytes = response.output_bytes();
  estimate.peak_bytes = response.peak_bytes();
  estimate.flops = response.flops();
  estimate.seconds = response.seconds();
  estimate.admissible = response.admissible();
  estimate.budget_bytes = response.budget_bytes();
  QUANTD_ASSIGN_OR_RETURN(estimate.spec, wire::FromProto(response.spec()));
  return estimate;
}

}  // namespace

absl::StatusOr<JobEstimate> Estimate(const std::shared_ptr<grpc::Channel>& channel,
                                     const QuantizeJob& job, absl::Duration deadline) {
  v1::EstimateRequest request;
  wire::Put(job, request.mutable_header());
  return Ask(channel, request, deadline);
}

absl::StatusOr<JobEstimate> Estimate(const std::shared_ptr<grpc::Channel>& channel,
                                     const MeasureJob& job, absl::Duration deadline) {
  v1::EstimateRequest request;
  wire::Put(job, request.mutable_measure());
  return Ask(channel, request, deadline);
}

absl::StatusOr<v1::GetCapabilitiesResponse> GetCapabilities(
    const std::shared_ptr<grpc::Channel>& channel, absl::Duration deadline) {
  v1::GetCapabilitiesRequest request;
  v1::GetCapabilitiesResponse response;
  grpc::ClientContext context;
  SetDeadline(&context, deadline);
  auto stub = v1::QuantizationService::NewStub(channel);
  QUANTD_RETURN_IF_ERROR(StatusOf(stub->GetCapabilities(&context, request, &response)));
  return response;
}

}  // namespace quantd::client
