// The exact part of the multiple-choice knapsack: dynamic programming over the classes in which an
// option other than the relaxed one can be part of a better solution.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/planner/knapsack.h"
#include "workers/planner/knapsack_relaxation.h"

namespace quantd {

struct CoreResult {
  std::vector<int> choice;  // by class: position among the undominated options
  bool finished = false;    // the choice is the optimum
  double bound = 0;         // no solution costs less; of no meaning when finished
  uint64_t states = 0;      // all of the limits' unless finished
};

// Costs that differ by `tolerance` or less count as equal; of such solutions the smaller one wins.
// The relaxation's multiplier is finite and above 0. Ends early, of no meaning, once the limits'
// token is set.
CoreResult SearchCore(const UndominatedOptions& options, const Relaxation& relaxation,
                      double tolerance, const KnapsackLimits& limits);

}  // namespace quantd
