// The two small calls: what a job would cost, and what the server can do.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "quantd/v1/quantization_service.pb.h"
#include "workers/core/job.h"

namespace quantd::client {

struct JobEstimate {
  uint64_t input_bytes = 0;
  uint64_t output_bytes = 0;
  uint64_t peak_bytes = 0;
  double flops = 0;
  double seconds = 0;
  bool admissible = false;
  uint64_t budget_bytes = 0;
  Spec spec;  // resolved
};

// Needs no bytes. The server's own errors for requests it would refuse.
absl::StatusOr<JobEstimate> Estimate(const std::shared_ptr<grpc::Channel>& channel,
                                     const QuantizeJob& job,
                                     absl::Duration deadline = absl::Seconds(30));

absl::StatusOr<JobEstimate> Estimate(const std::shared_ptr<grpc::Channel>& channel,
                                     const MeasureJob& job,
                                     absl::Duration deadline = absl::Seconds(30));

absl::StatusOr<v1::GetCapabilitiesResponse> GetCapabilities(
    const std::shared_ptr<grpc::Channel>& channel, absl::Duration deadline = absl::Seconds(30));

}  // namespace quantd::client
