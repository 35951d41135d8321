// The multiple-choice knapsack: one option of every class, least total cost within a capacity.
//
// Exact: linear relaxation over the lower convex hulls of the classes, reduction of options by
// their reduced cost, then dynamic programming over undominated (size, cost) states, classes in the
// order of how little it costs to leave their relaxed option (Pisinger, "A minimal algorithm for
// the multiple-choice knapsack problem", EJOR 83, 1995). States whose bound cannot beat the best
// solution at hand are dropped.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "workers/core/cancel.h"

namespace quantd {

// Both finite and not negative. Sizes that are whole numbers below 2^53 are added up exactly.
struct KnapsackOption {
  double size = 0;
  double cost = 0;
};

struct KnapsackLimits {
  // States of the dynamic programming, of all classes together (12 bytes each, and 24 for those of
  // the class under way). When they run out, or 64 times as many were looked at, the best solution
  // so far is returned, with its gap.
  uint64_t max_states = uint64_t{8} << 20;
  // Ends the work with its status, within a few ms (one sort of all options aside); may be null.
  const CancelToken* cancel = nullptr;

  bool stopped() const { return cancel != nullptr && cancel->cancelled(); }
  absl::Status Check() const { return cancel == nullptr ? absl::OkStatus() : cancel->Check(); }
};

struct KnapsackSolution {
  std::vector<int> choice;  // by class: index of its option
  double size = 0;          // sums over the classes, in their order
  double cost = 0;
  double bound = 0;  // no solution costs less; equal to `cost` when it is the optimum
  // Of limits.max_states, used up: all when they ran out, whether kept or looked at.
  uint64_t states = 0;
  // Share of the cost that a better solution could save at most; 0 for the optimum.
  double gap() const { return cost > bound ? (cost - bound) / cost : 0; }
};

// INVALID_ARGUMENT for a class without options, a number that is negative or not finite;
// OUT_OF_RANGE when even the smallest options of all classes exceed the capacity; the token's
// status once it is set. Deterministic: of solutions with equal cost (within 1e-14 of it) the
// smaller one, of equal ones one that depends on the input alone.
absl::StatusOr<KnapsackSolution> SolveKnapsack(
    absl::Span<const std::vector<KnapsackOption>> classes, double capacity,
    const KnapsackLimits& limits = KnapsackLimits());

}  // namespace quantd
