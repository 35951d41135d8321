// The linear relaxation of the multiple-choice knapsack, and a first solution from it.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "workers/planner/knapsack.h"

namespace quantd {

struct UndominatedOption {
  int index = 0;  // in its class as it was given
  double size = 0;
  double cost = 0;
};

// What takes limits ends early once their token is set; what it made is then of no meaning.

// The options of every class that no other one of it equals or beats in both size and cost.
class UndominatedOptions {
 public:
  // Every class has an option; of equal options the first is kept.
  UndominatedOptions(absl::Span<const std::vector<KnapsackOption>> classes,
                     const KnapsackLimits& limits);

  int classes() const { return static_cast<int>(begin_.size()) - 1; }
  // Sizes rising, costs falling.
  absl::Span<const UndominatedOption> of(int c) const {
    return absl::MakeConstSpan(options_).subspan(begin_[c], begin_[c + 1] - begin_[c]);
  }

 private:
  std::vector<UndominatedOption> options_;
  std::vector<size_t> begin_;
};

// Choices are positions among the undominated options, by class.
struct Relaxation {
  // The relaxed solution without the part of a step that it takes at the break.
  std::vector<int> base;
  double base_cost = 0;
  double slack = 0;       // capacity that the base leaves
  double multiplier = 0;  // lambda: cost that a unit of size saves at the break
  // A solution: the base, then every later step that still fits.
  std::vector<int> filled;
};

// The smallest options fit into `capacity`, the least-cost options do not.
Relaxation Relax(const UndominatedOptions& options, double capacity, const KnapsackLimits& limits);

// Whether all sizes are whole numbers below 2^53.
bool HasWholeSizes(const UndominatedOptions& options);

// The largest total up to `capacity` that whole sizes can add up to, by their common divisor. The
// smallest options, of size `least`, fit into it, the least-cost options do not.
double ReachableCapacity(const UndominatedOptions& options, double least, double capacity);

}  // namespace quantd
