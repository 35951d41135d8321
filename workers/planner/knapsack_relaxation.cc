#include "workers/planner/knapsack_relaxation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <tuple>

namespace quantd {
namespace {

// A step from one corner of a class's lower convex hull to the next.
struct Step {
  double slope = 0;  // cost saved per unit of size
  int at = 0;        // class
  int from = 0;      // positions
  int to = 0;
};

double Slope(const UndominatedOption& from, const UndominatedOption& to) {
  return (from.cost - to.cost) / (to.size - from.size);
}

// Appends the steps of a class; their slopes fall.
void AppendSteps(absl::Span<const UndominatedOption> options, int at, std::vector<Step>* steps) {
  const size_t first = steps->size();
  for (int to = 1; to < static_cast<int>(options.size()); ++to) {
    Step step = {Slope(options[to - 1], options[to]), at, to - 1, to};
    while (steps->size() > first && steps->back().slope <= step.slope) {
      step.from = steps->back().from;
      step.slope = Slope(options[step.from], options[to]);
      steps->pop_back();
    }
    steps->push_back(step);
  }
}

std::vector<Step> SortedSteps(const UndominatedOptions& options, const KnapsackLimits& limits) {
  std::vector<Step> steps;
  for (int c = 0; c < options.classes() && !limits.stopped(); ++c) {
    AppendSteps(options.of(c), c, &steps);
  }
  if (limits.stopped()) return {};
  std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) {
    return std::tie(b.slope, a.at, a.from) < std::tie(a.slope, b.at, b.from);
  });
  return steps;
}

// Takes steps from `begin` on as long as they fit, or all that fit if `skip`; returns the first
// that was not taken (without `skip`). A class's steps are taken in turn.
size_t TakeSteps(const UndominatedOptions& options, const std::vector<Step>& steps, size_t begin,
                 bool skip, std::vector<int>* choice, double* slack) {
  for (size_t i = begin; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const double growth = options.of(step.at)[step.to].size - options.of(step.at)[step.from].size;
    if ((*choice)[step.at] == step.from && growth <= *slack) {
      (*choice)[step.at] = step.to;
      *slack -= growth;
    } else if (!skip) {
      return i;
    }
  }
  return steps.size();
}

bool IsWhole(double size) { return size < 0x1p53 && size == std::floor(size); }

}  // namespace

UndominatedOptions::UndominatedOptions(absl::Span<const std::vector<KnapsackOption>> classes,
                                       const KnapsackLimits& limits) {
  begin_.push_back(0);
  std::vector<UndominatedOption> sorted;
  for (const std::vector<KnapsackOption>& given : classes) {
    if (limits.stopped()) return;
    sorted.clear();
    for (int i = 0; i < static_cast<int>(given.size()); ++i) {
      sorted.push_back({i, given[i].size, given[i].cost});
    }
    std::sort(sorted.begin(), sorted.end(),
              [](const UndominatedOption& a, const UndominatedOption& b) {
                return std::tie(a.size, a.cost, a.index) < std::tie(b.size, b.cost, b.index);
              });
    options_.push_back(sorted.front());
    for (const UndominatedOption& option : sorted) {
      if (option.cost < options_.back().cost) options_.push_back(option);
    }
    begin_.push_back(options_.size());
  }
}

Relaxation Relax(const UndominatedOptions& options, double capacity, const KnapsackLimits& limits) {
  Relaxation relaxation;
  relaxation.base.assign(options.classes(), 0);
  double least = 0;
  for (int c = 0; c < options.classes(); ++c) least += options.of(c).front().size;
  relaxation.slack = capacity - least;
  const std::vector<Step> steps = SortedSteps(options, limits);
  const size_t at_break =
      TakeSteps(options, steps, 0, /*skip=*/false, &relaxation.base, &relaxation.slack);
  if (at_break < steps.size()) relaxation.multiplier = steps[at_break].slope;
  for (int c = 0; c < options.classes(); ++c) {
    relaxation.base_cost += options.of(c)[relaxation.base[c]].cost;
  }
  relaxation.filled = relaxation.base;
  double left = relaxation.slack;
  TakeSteps(options, steps, at_break, /*skip=*/true, &relaxation.filled, &left);
  return relaxation;
}

bool HasWholeSizes(const UndominatedOptions& options) {
  for (int c = 0; c < options.classes(); ++c) {
    const absl::Span<const UndominatedOption> of = options.of(c);
    if (!std::all_of(of.begin(), of.end(),
                     [](const UndominatedOption& option) { return IsWhole(option.size); })) {
      return false;
    }
  }
  return true;
}

double ReachableCapacity(const UndominatedOptions& options, double least, double capacity) {
  uint64_t divisor = 0;
  for (int c = 0; c < options.classes(); ++c) {
    for (const UndominatedOption& option : options.of(c)) {
      divisor = std::gcd(divisor, static_cast<uint64_t>(option.size - options.of(c).front().size));
    }
  }
  if (divisor == 0 || capacity >= 0x1p53) return capacity;
  const auto spare = static_cast<uint64_t>(capacity - least);
  return least + static_cast<double>(spare - spare % divisor);
}

}  // namespace quantd
