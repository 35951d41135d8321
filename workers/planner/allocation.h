// Which layer gets which precision: from measured frontiers and a goal to one option a layer.
//
// The objective is separable: a plan's error is the mean over all layers of the option's relative
// error, weighted with the layer's parameters and its sensitivity. Layers that must agree are one
// class of a multiple-choice knapsack (knapsack.h).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "workers/planner/knapsack.h"

namespace quantd {

// Stands for "left as it is" where a candidate is named.
inline constexpr int kDense = -1;

// One candidate on one layer.
struct LayerOption {
  int candidate = kDense;  // index into AllocationProblem::candidates
  uint64_t bytes = 0;      // everything that is stored for the layer
  double error = 0;        // relative error of the layer's outputs (or weights); 0 for dense
  int64_t block = 0;       // weights that share one scale, 1..2^53; 0 for dense
};

struct PlanLayer {
  std::string name;
  uint64_t parameters = 0;  // > 0
  // >= 0; weighs the layer's error beside its parameters. 0 for all layers tells none from another
  // and counts as 1 for all.
  double sensitivity = 1;
  // At most one for each candidate and for kDense. What the user ruled out is not in it.
  std::vector<LayerOption> options;
};

enum class GoalKind : uint8_t {
  kBytes = 1,     // least error within `bytes`
  kError = 2,     // fewest bytes within `error`
  kLowShare = 3,  // least error with at most `low_share` of the parameters in low precision, and as
                  // little less as the layers' sizes allow
};

struct PlanGoal {
  GoalKind kind = GoalKind::kBytes;
  uint64_t bytes = 0;    // of all layers together
  double error = 0;      // of the plan; rounding, 1e-12 of it, aside
  double low_share = 0;  // Q_r, [0, 1]
};

struct AllocationProblem {
  std::vector<std::string> candidates;  // names, for messages
  std::vector<PlanLayer> layers;
  // Sets of layers (indices, at least two each) that take the same candidate. A layer may be in
  // several; such sets are one.
  std::vector<std::vector<int>> same;
  PlanGoal goal;
  KnapsackLimits limits;  // of one call; ModelFrontier's budgets have them each
};

// What a choice for all layers amounts to: achieved, never what was asked for.
struct PlanTotals {
  uint64_t bytes = 0;
  double bits_per_weight = 0;  // 8 bytes / parameters
  double error = 0;
  double low_share = 0;  // Q_r: parameters of layers that are not dense / all parameters
  double block = 0;      // Q_b: those parameters / the scales that they have; 0 if there are none
};

// The same candidate for every layer that has a choice, alone or with those it must agree with.
struct UniformPlan {
  int candidate = kDense;
  PlanTotals totals;
};

struct Plan {
  std::vector<int> choice;  // by layer: index into its options
  PlanTotals totals;
  // No plan that meets the goal has less error (kError: fewer bytes; kLowShare: of those that keep
  // as many parameters dense or fewer).
  double bound = 0;
  double gap = 0;  // share by which a better plan could be better at most; 0: this is the optimum
  uint64_t states = 0;               // that the search took, limits.max_states at most
  std::vector<UniformPlan> uniform;  // every candidate that all of those have, by bytes
  int best_uniform = -1;             // of them: the one that meets the goal best; -1: none meets it
};

// INVALID_ARGUMENT for layers without options, with two options of one candidate, numbers out of
// range, sets whose layers have no candidate in common (naming the layers and what each has);
// OUT_OF_RANGE for a goal that nothing meets, naming the nearest that can be met in the goal's own
// unit ("0.91 bits a weight" and bytes, the least error, the least Q_r); the token's status once
// limits.cancel is set.
absl::StatusOr<Plan> Allocate(const AllocationProblem& problem);

// Totals of any choice (index into each layer's options).
PlanTotals TotalsOf(const std::vector<PlanLayer>& layers, const std::vector<int>& choice);

// The model's own frontier: the least error for each of `count` budgets spread evenly from the
// smallest to the largest size that all layers can have, the goal aside. For drawing, so that each
// search is short. INVALID_ARGUMENT as Allocate, and for a count outside of 2..1000; the token's
// status as Allocate.
absl::StatusOr<std::vector<PlanTotals>> ModelFrontier(const AllocationProblem& problem, int count);

}  // namespace quantd
