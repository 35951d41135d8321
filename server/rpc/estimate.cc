#include "server/rpc/estimate.h"

#include <memory>
#include <utility>

#include "proto/wire/codec.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

absl::StatusOr<JobHeader> Described(const v1::EstimateRequest& request) {
  switch (request.job_case()) {
    case v1::EstimateRequest::kHeader: {
      QUANTD_ASSIGN_OR_RETURN(QuantizeJob job, wire::FromProto(request.header()));
      return JobHeader(std::move(job));
    }
    case v1::EstimateRequest::kMeasure: {
      QUANTD_ASSIGN_OR_RETURN(MeasureJob job, wire::FromProto(request.measure()));
      return JobHeader(std::move(job));
    }
    case v1::EstimateRequest::JOB_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("header: missing");
}

}  // namespace

absl::Status Estimate(const v1::EstimateRequest& request, const JobFactory& create_job,
                      const Admission& admission, v1::EstimateResponse* response) {
  QUANTD_ASSIGN_OR_RETURN(JobHeader described, Described(request));
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
