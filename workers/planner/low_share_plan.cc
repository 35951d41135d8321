#include "workers/planner/low_share_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/planner/plan_totals.h"

namespace quantd {
namespace {

// Of the capacity, twice as much each time, before classes are made dense one by one.
constexpr int kRaises = 64;

// A class as the two states that the share knows; -1 for one that it does not have.
struct Sides {
  int dense = -1;  // indices of options
  int low = -1;
};

Sides SidesOf(const LayerClass& of) {
  Sides sides;
  for (int i = 0; i < static_cast<int>(of.options.size()); ++i) {
    const ClassOption& option = of.options[i];
    if (option.candidate == kDense) {
      sides.dense = i;
    } else if (sides.low < 0 ||
               std::tie(option.error, option.bytes) <
                   std::tie(of.options[sides.low].error, of.options[sides.low].bytes)) {
      sides.low = i;
    }
  }
  return sides;
}

// What a search within `capacity` parameters came to.
struct Found {
  KnapsackSolution solution;
  double capacity = 0;
};

uint64_t RoundUp(uint64_t value, uint64_t step) { return (value + step - 1) / step * step; }

// Whether `a` keeps fewer parameters dense; or as many, with less error.
bool KeepsLess(const KnapsackSolution& a, const KnapsackSolution& b) {
  return std::tie(a.size, a.cost) < std::tie(b.size, b.cost);
}

class LowShareSearch {
 public:
  LowShareSearch(const std::vector<LayerClass>& classes, const PlanGoal& goal,
                 const KnapsackLimits& limits);

  absl::StatusOr<LowSharePlan> Run();

 private:
  uint64_t LeastDense(double low_share) const;
  absl::StatusOr<Found> Solve(double capacity);
  absl::Status Bound(Found* found) const;
  bool IsDense(const KnapsackSolution& solution, size_t c) const;
  bool Gains(size_t c) const;
  uint64_t SmallestGain(const KnapsackSolution& solution) const;
  uint64_t CommonDivisor() const;
  bool Keeps(const KnapsackSolution& solution) const { return solution.size >= needed_; }
  Found MadeDense(Found found) const;
  LowSharePlan PlanOf(const KnapsackSolution& solution) const;

  const std::vector<LayerClass>& classes_;
  const PlanGoal& goal_;
  const uint64_t most_states_;
  KnapsackLimits limits_;  // what is left of them
  std::vector<Sides> sides_;
  // By class: dense first if it can be, its size the parameters that stay dense.
  std::vector<std::vector<KnapsackOption>> options_;
  double needed_ = 0;  // parameters that must stay dense
  uint64_t parameters_ = 0;
  uint64_t most_dense_ = 0;    // parameters that can be dense
  uint64_t always_dense_ = 0;  // of classes that have nothing else
};

LowShareSearch::LowShareSearch(const std::vector<LayerClass>& classes, const PlanGoal& goal,
                               const KnapsackLimits& limits)
    : classes_(classes), goal_(goal), most_states_(limits.max_states), limits_(limits) {
  for (const LayerClass& of : classes) {
    const Sides sides = SidesOf(of);
    std::vector<KnapsackOption> options;
    if (sides.dense >= 0) {
      options.push_back({static_cast<double>(of.parameters), of.options[sides.dense].error});
      most_dense_ += of.parameters;
      if (sides.low < 0) always_dense_ += of.parameters;
    }
    if (sides.low >= 0) options.push_back({0, of.options[sides.low].error});
    parameters_ += of.parameters;
    sides_.push_back(sides);
    options_.push_back(options);
  }
}

// The fewest parameters that must stay dense for this share.
uint64_t LowShareSearch::LeastDense(double low_share) const {
  const auto all = static_cast<double>(parameters_);
  double low = std::floor(low_share * all);
  // The product may have been rounded up to the next whole number.
  if (low / all > low_share) --low;
  return parameters_ - static_cast<uint64_t>(low);
}

// Takes the states that it needs from those left.
absl::StatusOr<Found> LowShareSearch::Solve(double capacity) {
  QUANTD_ASSIGN_OR_RETURN(KnapsackSolution solution, SolveKnapsack(options_, capacity, limits_));
  limits_.max_states -= solution.states;
  return Found{std::move(solution), capacity};
}

// What was made dense beyond the capacity is no part of the search's bound: the relaxation's takes
// its place.
absl::Status LowShareSearch::Bound(Found* found) const {
  if (found->solution.size <= found->capacity) return absl::OkStatus();
  KnapsackLimits limits = limits_;
  limits.max_states = 0;
  QUANTD_ASSIGN_OR_RETURN(const KnapsackSolution relaxed,
                          SolveKnapsack(options_, found->solution.size, limits));
  found->solution.bound = relaxed.bound;
  return absl::OkStatus();
}

bool LowShareSearch::IsDense(const KnapsackSolution& solution, size_t c) const {
  return sides_[c].dense >= 0 && solution.choice[c] == 0;
}

// Whether the class has less error when it is dense: the knapsack leaves the others alone.
bool LowShareSearch::Gains(size_t c) const {
  return options_[c].size() == 2 && options_[c][0].cost < options_[c][1].cost;
}

// Parameters of the smallest class that would gain from being dense and is not; 0 if there is none.
uint64_t LowShareSearch::SmallestGain(const KnapsackSolution& solution) const {
  uint64_t least = 0;
  for (size_t c = 0; c < classes_.size(); ++c) {
    if (IsDense(solution, c) || !Gains(c)) continue;
    least = least == 0 ? classes_[c].parameters : std::min(least, classes_[c].parameters);
  }
  return least;
}

// Of the classes that can be either; 1 if there are none.
uint64_t LowShareSearch::CommonDivisor() const {
  uint64_t divisor = 0;
  for (size_t c = 0; c < classes_.size(); ++c) {
    if (options_[c].size() == 2) divisor = std::gcd(divisor, classes_[c].parameters);
  }
  return std::max<uint64_t>(divisor, 1);
}

// The smallest classes first, until enough are dense.
Found LowShareSearch::MadeDense(Found found) const {
  KnapsackSolution* const solution = &found.solution;
  if (Keeps(*solution)) return found;
  std::vector<size_t> left;
  for (size_t c = 0; c < classes_.size(); ++c) {
    if (sides_[c].dense >= 0 && !IsDense(*solution, c)) left.push_back(c);
  }
  std::stable_sort(left.begin(), left.end(), [&](size_t a, size_t b) {
    return classes_[a].parameters < classes_[b].parameters;
  });
  for (size_t i = 0; i < left.size() && !Keeps(*solution); ++i) {
    const std::vector<KnapsackOption>& options = options_[left[i]];
    solution->choice[left[i]] = 0;
    solution->size += options[0].size;
    solution->cost += options[0].cost - options[1].cost;
  }
  return found;
}

LowSharePlan LowShareSearch::PlanOf(const KnapsackSolution& solution) const {
  LowSharePlan plan;
  for (size_t c = 0; c < classes_.size(); ++c) {
    plan.choice.push_back(IsDense(solution, c) ? sides_[c].dense : sides_[c].low);
  }
  plan.bound = std::min(solution.bound, solution.cost);
  plan.optimum = solution.gap() == 0;
  plan.states = most_states_ - limits_.max_states;
  return plan;
}

absl::StatusOr<LowSharePlan> LowShareSearch::Run() {
  const uint64_t needed = LeastDense(goal_.low_share);
  needed_ = static_cast<double>(needed);
  if (needed > most_dense_) {
    const double least =
        static_cast<double>(parameters_ - most_dense_) / static_cast<double>(parameters_);
    return absl::OutOfRangeError(absl::StrCat("no plan has a Q_r of ", goal_.low_share,
                                              " or less: layers that cannot stay dense make ",
                                              PrintedLimit(least), " the least"));
  }
  // Of solutions within a capacity one that keeps less than what is needed dense can be the best.
  // More capacity forces it beyond, and is added in steps as small as the sizes' common divisor, so
  // that no more than necessary stays dense.
  uint64_t step = CommonDivisor();
  uint64_t capacity = always_dense_;
  if (needed > capacity) capacity += RoundUp(needed - capacity, step);
  QUANTD_ASSIGN_OR_RETURN(Found found, Solve(static_cast<double>(capacity)));
  Found best = MadeDense(found);
  for (int raise = 0; raise < kRaises && !Keeps(found.solution) && limits_.max_states > 0;
       ++raise) {
    const uint64_t smallest = SmallestGain(found.solution);
    if (smallest == 0) break;
    capacity += std::min(step, smallest);
    step *= 2;
    QUANTD_ASSIGN_OR_RETURN(found, Solve(static_cast<double>(capacity)));
    const Found dense = MadeDense(found);
    // The last one is what was looked for, unless its search was cut short.
    if (limits_.max_states > 0 || KeepsLess(dense.solution, best.solution)) best = dense;
  }
  QUANTD_RETURN_IF_ERROR(Bound(&best));
  return PlanOf(best.solution);
}

}  // namespace

absl::StatusOr<LowSharePlan> PlanLowShare(const std::vector<LayerClass>& classes,
                                          const PlanGoal& goal, const KnapsackLimits& limits) {
  return LowShareSearch(classes, goal, limits).Run();
}

}  // namespace quantd
