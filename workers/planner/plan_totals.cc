#include "workers/planner/plan_totals.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <tuple>

#include "absl/strings/str_format.h"
#include "workers/core/shape.h"
#include "workers/planner/layer_classes.h"

namespace quantd {
namespace {

// Sums over layers differ in their last digits with the order that they are made in.
constexpr double kRounding = 1e-12;

bool IsDense(const LayerOption& option) { return option.candidate == kDense; }

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
  PlanTotals totals;
  uint64_t parameters = 0, low = 0, scales = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    const LayerOption& option = layers[l].options[choice[l]];
    parameters += layers[l].parameters;
    totals.bytes += option.bytes;
    totals.error += weights[l] * option.error;
    if (IsDense(option)) continue;
    low += layers[l].parameters;
    if (option.block > 0) {
      scales += CeilDiv(static_cast<int64_t>(layers[l].parameters), option.block);
    }
  }
  if (parameters == 0) return totals;
  const auto all = static_cast<double>(parameters);
  totals.bits_per_weight = 8.0 * static_cast<double>(totals.bytes) / all;
  totals.low_share = static_cast<double>(low) / all;
  if (scales > 0) totals.block = static_cast<double>(low) / static_cast<double>(scales);
  return totals;
}

std::vector<UniformPlan> UniformPlans(const AllocationProblem& problem) {
  std::vector<UniformPlan> plans;
  for (int candidate = kDense; candidate < static_cast<int>(problem.candidates.size());
       ++candidate) {
    std::vector<int> choice;
    for (const PlanLayer& layer : problem.layers) {
      choice.push_back(OptionOf(layer, candidate));
      if (choice.back() < 0) break;
    }
    if (choice.back() >= 0) plans.push_back({candidate, TotalsOf(problem.layers, choice)});
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
