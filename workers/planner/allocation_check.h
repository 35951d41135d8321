// What an allocation problem must be before any of it is used.
#pragma once

#include "absl/status/status.h"
#include "workers/planner/allocation.h"

namespace quantd {

// Everything but the goal: layers, their options, the sets; and whether the limits' token is set.
absl::Status CheckLayers(const AllocationProblem& problem);

absl::Status CheckGoal(const PlanGoal& goal);

// `what`: "same" or "blocks". Indices of layers, at least `least` in each set.
absl::Status CheckSets(const std::vector<std::vector<int>>& sets, absl::string_view what,
                       size_t least, size_t layers);

}  // namespace quantd
