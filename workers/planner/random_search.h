// The scaling-law paper's own way to a plan: random draws of what stays in high precision, the best
// by a loss (arXiv 2410.06722v1, section 4.1: 50 draws, layer by layer or matrix by matrix).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "workers/planner/allocation.h"

namespace quantd {

struct RandomSearchOptions {
  int trials = 50;  // 1..100000; times the layers at most 2^26
  uint32_t seed = 0;
  double low_share = 0;  // Q_r, [0, 1]: no draw has more
  int candidate = 0;     // that low precision means
  // Sets of layers (indices) that are drawn together: the matrices of a transformer block for
  // layer-wise draws; empty: every layer alone. Those of AllocationProblem::same stay together.
  std::vector<std::vector<int>> blocks;
};

struct RandomTrial {
  std::vector<int> choice;  // by layer: index into its options
  PlanTotals totals;        // totals.error is the predicted loss
};

// Draw number t depends on seed and t alone: sets in random order become dense until no more than
// low_share is left in low precision. INVALID_ARGUMENT as Allocate, and where a layer has neither
// the candidate nor kDense; layers that have one of both always take it. OUT_OF_RANGE when those
// without kDense exceed low_share; the token's status once problem.limits.cancel is set.
absl::StatusOr<std::vector<RandomTrial>> DrawTrials(const AllocationProblem& problem,
                                                    const RandomSearchOptions& options);

// The trial with the least loss, the first of equals: `losses` (one a trial) as the caller measured
// them, or empty for the predicted ones. INVALID_ARGUMENT for another number of losses or one that
// is NaN.
absl::StatusOr<int> BestTrial(absl::Span<const RandomTrial> trials,
                              absl::Span<const double> losses);

}  // namespace quantd
