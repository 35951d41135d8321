#include "workers/planner/knapsack.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/planner/knapsack_core.h"
#include "workers/planner/knapsack_relaxation.h"

namespace quantd {
namespace {

// Of the cost: what rounding may take for a difference.
constexpr double kTolerance = 1e-14;

// Of the cost: sums that are so much larger leave differences of costs too few digits to rely on.
constexpr double kMostRounded = 1e5;

bool IsNumber(double value) { return std::isfinite(value) && value >= 0; }

absl::Status CheckClasses(absl::Span<const std::vector<KnapsackOption>> classes,
                          const KnapsackLimits& limits) {
  double size = 0, cost = 0;
  for (size_t c = 0; c < classes.size(); ++c) {
    QUANTD_RETURN_IF_ERROR(limits.Check());
    if (classes[c].empty()) {
      return absl::InvalidArgumentError(absl::StrCat("class ", c, " has no options"));
    }
    double largest = 0, dearest = 0;
    for (const KnapsackOption& option : classes[c]) {
      if (!IsNumber(option.size) || !IsNumber(option.cost)) {
        return absl::InvalidArgumentError(absl::StrCat("class ", c, " has an option of size ",
                                                       option.size, " and cost ", option.cost,
                                                       ": both must be finite and not negative"));
      }
      largest = std::max(largest, option.size);
      dearest = std::max(dearest, option.cost);
    }
    size += largest;
    cost += dearest;
  }
  if (std::isfinite(size) && std::isfinite(cost)) return absl::OkStatus();
  return absl::InvalidArgumentError("sizes or costs add up to more than a double holds");
}

// Of the smallest (`last` false) or the least-cost options.
double SumOfSizes(const UndominatedOptions& options, bool last) {
  double sum = 0;
  for (int c = 0; c < options.classes(); ++c) {
    sum += (last ? options.of(c).back() : options.of(c).front()).size;
  }
  return sum;
}

// Of positions among the undominated options.
KnapsackSolution SolutionOf(const UndominatedOptions& options, const std::vector<int>& positions) {
  KnapsackSolution solution;
  for (int c = 0; c < options.classes(); ++c) {
    const UndominatedOption& option = options.of(c)[positions[c]];
    solution.choice.push_back(option.index);
    solution.size += option.size;
    solution.cost += option.cost;
  }
  solution.bound = solution.cost;
  return solution;
}

std::vector<int> LeastCostPositions(const UndominatedOptions& options) {
  std::vector<int> positions(options.classes());
  for (int c = 0; c < options.classes(); ++c) {
    positions[c] = static_cast<int>(options.of(c).size()) - 1;
  }
  return positions;
}

}  // namespace

absl::StatusOr<KnapsackSolution> SolveKnapsack(
    absl::Span<const std::vector<KnapsackOption>> classes, double capacity,
    const KnapsackLimits& limits) {
  QUANTD_RETURN_IF_ERROR(CheckClasses(classes, limits));
  if (!IsNumber(capacity)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the capacity is ", capacity, ": it must be finite and not negative"));
  }
  const UndominatedOptions options(classes, limits);
  QUANTD_RETURN_IF_ERROR(limits.Check());
  const double smallest = SumOfSizes(options, /*last=*/false);
  const double largest = SumOfSizes(options, /*last=*/true);
  if (smallest > capacity) {
    return absl::OutOfRangeError(absl::StrCat("the smallest options take ", smallest,
                                              ", more than the capacity of ", capacity));
  }
  const KnapsackSolution cheapest = SolutionOf(options, LeastCostPositions(options));
  if (largest <= capacity) return cheapest;
  const bool whole = HasWholeSizes(options);
  if (whole) capacity = ReachableCapacity(options, smallest, capacity);
  const Relaxation relaxation = Relax(options, capacity, limits);
  QUANTD_RETURN_IF_ERROR(limits.Check());
  KnapsackSolution solution = SolutionOf(options, relaxation.filled);
  bool finished = false;
  double bound = 0;
  if (relaxation.multiplier > 0 && std::isfinite(relaxation.multiplier * (largest - smallest))) {
    const double tolerance = kTolerance * std::min(solution.cost, relaxation.base_cost);
    const CoreResult core = SearchCore(options, relaxation, tolerance, limits);
    QUANTD_RETURN_IF_ERROR(limits.Check());
    solution = SolutionOf(options, core.choice);
    solution.states = core.states;
    finished = core.finished;
    bound = core.bound;
  }
  const double rounded = relaxation.base_cost + (whole ? 0 : relaxation.multiplier * capacity);
  if (!(rounded <= kMostRounded * solution.cost)) {
    bound = 0;
  } else if (finished) {
    bound = solution.cost;
  }
  solution.bound = std::min(solution.cost, std::max(bound, cheapest.cost));
  return solution;
}

}  // namespace quantd
