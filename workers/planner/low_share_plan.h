// Plans with a share of the parameters in low precision.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "workers/planner/layer_classes.h"

namespace quantd {

struct LowSharePlan {
  std::vector<int> choice;  // by class: index of its option
  double bound = 0;         // no plan that keeps as many parameters dense or fewer has less error
  bool optimum = false;     // of those
  uint64_t states = 0;      // that the searches took together
};

// At most goal.low_share of the parameters in low precision, and as little less as the classes'
// sizes allow; low precision is the option of least error among those that are not dense.
// OUT_OF_RANGE when the classes that cannot stay dense exceed the share; the token's status once it
// is set. `limits.max_states` are those of all its searches together: when they run out the plan is
// the one that goes least below the share of those found so far.
absl::StatusOr<LowSharePlan> PlanLowShare(const std::vector<LayerClass>& classes,
                                          const PlanGoal& goal, const KnapsackLimits& limits);

}  // namespace quantd
