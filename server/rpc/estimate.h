// The dry run behind Estimate: a job is made from its header, asked for its cost, and dropped.
#pragma once

#include "absl/status/status.h"
#include "quantd/v1/quantization_service.pb.h"
#include "server/admission/admission.h"
#include "server/session/options.h"

namespace quantd {

// The same checks, and so the same errors, as a Quantize or Measure call with this header.
absl::Status Estimate(const v1::EstimateRequest& request, const JobFactory& create_job,
                      const Admission& admission, v1::EstimateResponse* response);

}  // namespace quantd
