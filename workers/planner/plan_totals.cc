#include "workers/planner/plan_totals.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <tuple>

#include "absl/strings/str_format.h"
#include "workers/core/shape.h"

namespace quantd {
namespace {

// Sums over layers differ in their last digits with the order that they are made in.
constexpr double kRounding = 1e-12;

// Of layers that have been added.
class Sums {
 public:
  void Add(const PlanLayer& layer, const LayerOption& option, double weight) {
    parameters_ += layer.parameters;
    bytes_ += option.bytes;
    error_ += weight * option.error;
    if (option.candidate == kDense) return;
    low_ += layer.parameters;
    if (option.block > 0) {
      scales_ += CeilDiv(static_cast<int64_t>(layer.parameters), option.block);
    }
  }

  PlanTotals Totals() const {
    PlanTotals totals;
    totals.bytes = bytes_;
    totals.error = error_;
    if (parameters_ == 0) return totals;
    const auto all = static_cast<double>(parameters_);
    totals.bits_per_weight = 8.0 * static_cast<double>(bytes_) / all;
    totals.low_share = static_cast<double>(low_) / all;
    if (scales_ > 0) totals.block = static_cast<double>(low_) / static_cast<double>(scales_);
    return totals;
  }

 private:
  uint64_t parameters_ = 0, bytes_ = 0, low_ = 0, scales_ = 0;
  double error_ = 0;
};

}  // namespace

std::vector<double> ErrorWeights(const std::vector<PlanLayer>& layers) {
  double most = 0;
  for (const PlanLayer& layer : layers) most = std::max(most, layer.sensitivity);
  std::vector<double> weights;
  double sum = 0;
  for (const PlanLayer& layer : layers) {
    const double sensitivity = most > 0 ? layer.sensitivity / most : 1;
    weights.push_back(sensitivity * static_cast<double>(layer.parameters));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

PlanTotals TotalsOf(const std::vector<PlanLayer>& layers, const std::vector<int>& choice) {
  const std::vector<double> weights = ErrorWeights(layers);
  Sums sums;
  for (size_t l = 0; l < layers.size(); ++l) {
    sums.Add(layers[l], layers[l].options[choice[l]], weights[l]);
  }
  return sums.Totals();
}

int UniformCandidate(const LayerClass& of, int candidate) {
  for (const ClassOption& option : of.options) {
    if (option.candidate == candidate) return candidate;
  }
  return of.options.front().candidate;
}

std::vector<UniformPlan> UniformPlans(const AllocationProblem& problem,
                                      const std::vector<LayerClass>& classes) {
  const std::vector<PlanLayer>& layers = problem.layers;
  const std::vector<double> weights = ErrorWeights(layers);
  const int candidates = static_cast<int>(problem.candidates.size());
  const auto add = [&](const LayerClass& of, int candidate, Sums* sums) {
    for (const int l : of.layers) {
      sums->Add(layers[l], layers[l].options[OptionOf(layers[l], candidate)], weights[l]);
    }
  };
  // Classes without a choice are added up once: they may be many, and the candidates too.
  Sums fixed;
  std::vector<bool> held(candidates + 1);  // by candidate + 1, whether one of them has it
  std::vector<const LayerClass*> free;
  for (const LayerClass& of : classes) {
    if (of.options.size() > 1) {
      free.push_back(&of);
      continue;
    }
    add(of, of.options[0].candidate, &fixed);
    held[of.options[0].candidate + 1] = true;
  }
  std::vector<UniformPlan> plans;
  for (int candidate = kDense; candidate < candidates && !problem.limits.stopped(); ++candidate) {
    Sums sums = fixed;
    bool everywhere = !free.empty() || held[candidate + 1];
    for (size_t i = 0; i < free.size() && everywhere; ++i) {
      everywhere = UniformCandidate(*free[i], candidate) == candidate;
      if (everywhere) add(*free[i], candidate, &sums);
    }
    if (everywhere) plans.push_back({candidate, sums.Totals()});
  }
  std::stable_sort(plans.begin(), plans.end(), [](const UniformPlan& a, const UniformPlan& b) {
    return std::tie(a.totals.bytes, a.totals.error) < std::tie(b.totals.bytes, b.totals.error);
  });
  return plans;
}

double ErrorLimit(const PlanGoal& goal) { return goal.error * (1 + kRounding); }

bool Meets(const PlanGoal& goal, const PlanTotals& totals) {
  switch (goal.kind) {
    case GoalKind::kBytes:
      return totals.bytes <= goal.bytes;
    case GoalKind::kError:
      return totals.error <= ErrorLimit(goal);
    case GoalKind::kLowShare:
      return totals.low_share <= goal.low_share;
  }
  return false;
}

bool IsBetter(const PlanGoal& goal, const PlanTotals& a, const PlanTotals& b) {
  if (goal.kind == GoalKind::kError) {
    return std::tie(a.bytes, a.error) < std::tie(b.bytes, b.error);
  }
  // A share is to be used as far as it goes.
  if (goal.kind == GoalKind::kLowShare && a.low_share != b.low_share) {
    return a.low_share > b.low_share;
  }
  return std::tie(a.error, a.bytes) < std::tie(b.error, b.bytes);
}

int BestUniform(const PlanGoal& goal, const std::vector<UniformPlan>& plans) {
  int best = -1;
  for (int i = 0; i < static_cast<int>(plans.size()); ++i) {
    if (!Meets(goal, plans[i].totals)) continue;
    if (best < 0 || IsBetter(goal, plans[i].totals, plans[best].totals)) best = i;
  }
  return best;
}

std::string PrintedLimit(double value) {
  std::string printed;
  for (int digits = 6; digits <= 17; ++digits) {
    printed = absl::StrFormat("%.*g", digits, value);
    if (std::strtod(printed.c_str(), nullptr) >= value) break;
  }
  return printed;
}

}  // namespace quantd
