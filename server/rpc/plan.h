// The answers of Plan: arithmetic on figures that the request brings, nothing of which is kept.
#pragma once

#include "absl/status/status.h"
#include "quantd/v1/plan.pb.h"
#include "workers/core/cancel.h"

namespace quantd {

// INVALID_ARGUMENT naming the field or the layer; OUT_OF_RANGE for a goal that nothing meets,
// naming the nearest that can be met; the token's status once it is set.
absl::Status MakePlan(const v1::PlanRequest& request, const CancelToken& cancel,
                      v1::PlanResponse* response);

}  // namespace quantd
