#include "server/rpc/estimate.h"

#include <memory>
#include <utility>

#include "proto/wire/codec.h"
#include "workers/core/status_macros.h"

namespace quantd {

absl::Status Estimate(const v1::EstimateRequest& request, const JobFactory& create_job,
                      const Admission& admission, v1::EstimateResponse* response) {
  if (!request.has_header()) return absl::InvalidArgumentError("header: missing");
  QUANTD_ASSIGN_OR_RETURN(QuantizeJob described, wire::FromProto(request.header()));
  QUANTD_ASSIGN_OR_RETURN(std::unique_ptr<Job> job, create_job(std::move(described)));
  const Cost& cost = job->cost();
  response->set_input_bytes(cost.input_bytes);
  response->set_output_bytes(cost.output_bytes);
  response->set_peak_bytes(cost.peak_bytes);
  response->set_flops(cost.flops);
  response->set_seconds(cost.seconds);
  response->set_admissible(admission.EverFits(cost.peak_bytes));
  response->set_budget_bytes(admission.budget_bytes());
  wire::Put(job->resolved_spec(), response->mutable_spec());
  return absl::OkStatus();
}

}  // namespace quantd
