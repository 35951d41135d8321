#include "workers/planner/random_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/planner/allocation_check.h"
#include "workers/planner/layer_classes.h"
#include "workers/planner/plan_totals.h"

namespace quantd {
namespace {

constexpr int kMostTrials = 100000;
constexpr uint64_t kMostChoices = uint64_t{1} << 26;  // of all trials together, 4 bytes each

// What is drawn together: the layers that change sides, once each.
struct Unit {
  std::vector<int> layers;
  uint64_t parameters = 0;
};

// The layers as the draws see them.
struct DrawPlan {
  std::vector<int> low;    // by layer: the choice while its unit is low
  std::vector<int> dense;  // by layer: the choice once its unit is dense
  std::vector<Unit> units;
  uint64_t parameters = 0;
  uint64_t always_low = 0;  // parameters
};

absl::Status CheckOptions(const AllocationProblem& problem, const RandomSearchOptions& options) {
  const size_t layers = problem.layers.size();
  if (options.trials < 1 || options.trials > kMostTrials ||
      static_cast<uint64_t>(options.trials) * layers > kMostChoices) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.trials, " trials of ", layers, " layers: there must be 1 to ",
                     kMostTrials, " trials, and ", kMostChoices, " choices at most"));
  }
  if (!(options.low_share >= 0 && options.low_share <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a Q_r of ", options.low_share, ": it must be within 0..1"));
  }
  if (options.candidate < 0 || options.candidate >= static_cast<int>(problem.candidates.size())) {
    return absl::InvalidArgumentError(absl::StrCat("candidate number ", options.candidate,
                                                   " is to be low precision, but there are ",
                                                   problem.candidates.size()));
  }
  return CheckSets(options.blocks, "blocks", 1, layers);
}

bool Has(const LayerClass& of, int candidate) {
  return std::any_of(of.options.begin(), of.options.end(),
                     [&](const ClassOption& option) { return option.candidate == candidate; });
}

// The layers of a class take one of two candidates; where it has only one, that one always.
absl::Status AddClass(const AllocationProblem& problem, int candidate, const LayerClass& of,
                      std::vector<bool>* free, DrawPlan* plan) {
  const bool has_low = Has(of, candidate), has_dense = Has(of, kDense);
  if (!has_low && !has_dense) {
    return absl::InvalidArgumentError(
        absl::StrCat("layer '", problem.layers[of.layers.front()].name, "' can be neither dense ",
                     "nor ", CandidateName(problem, candidate)));
  }
  for (const int l : of.layers) {
    plan->low[l] = OptionOf(problem.layers[l], has_low ? candidate : kDense);
    plan->dense[l] = OptionOf(problem.layers[l], has_dense ? kDense : candidate);
    (*free)[l] = has_low && has_dense;
  }
  plan->parameters += of.parameters;
  if (!has_dense) plan->always_low += of.parameters;
  return absl::OkStatus();
}

absl::StatusOr<DrawPlan> PlanDraws(const AllocationProblem& problem,
                                   const RandomSearchOptions& options) {
  QUANTD_ASSIGN_OR_RETURN(const std::vector<LayerClass> classes, ClassesOf(problem));
  DrawPlan plan;
  plan.low.resize(problem.layers.size());
  plan.dense.resize(problem.layers.size());
  std::vector<bool> free(problem.layers.size());
  for (const LayerClass& of : classes) {
    QUANTD_RETURN_IF_ERROR(AddClass(problem, options.candidate, of, &free, &plan));
  }
  std::vector<std::vector<int>> sets = problem.same;
  sets.insert(sets.end(), options.blocks.begin(), options.blocks.end());
  const std::vector<std::vector<int>> joined =
      JoinedSets(static_cast<int>(problem.layers.size()), sets, problem.limits);
  QUANTD_RETURN_IF_ERROR(problem.limits.Check());
  for (const std::vector<int>& set : joined) {
    Unit unit;
    for (const int l : set) {
      if (!free[l]) continue;
      unit.layers.push_back(l);
      unit.parameters += problem.layers[l].parameters;
    }
    if (!unit.layers.empty()) plan.units.push_back(std::move(unit));
  }
  return plan;
}

double Share(uint64_t low, uint64_t all) {
  return static_cast<double>(low) / static_cast<double>(all);
}

// Fisher and Yates by hand: what the standard library's shuffle makes of a seed is its own affair.
std::vector<int> RandomOrder(size_t count, uint32_t seed, uint32_t trial) {
  std::seed_seq seeds = {seed, trial};
  std::mt19937_64 random(seeds);
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  return order;
}

RandomTrial Draw(const AllocationProblem& problem, const RandomSearchOptions& options,
                 const DrawPlan& plan, uint32_t number) {
  uint64_t low = plan.always_low;
  for (const Unit& unit : plan.units) low += unit.parameters;
  RandomTrial trial;
  trial.choice = plan.low;
  for (const int u : RandomOrder(plan.units.size(), options.seed, number)) {
    if (Share(low, plan.parameters) <= options.low_share) break;
    for (const int l : plan.units[u].layers) trial.choice[l] = plan.dense[l];
    low -= plan.units[u].parameters;
  }
  trial.totals = TotalsOf(problem.layers, trial.choice);
  return trial;
}

}  // namespace

absl::StatusOr<std::vector<RandomTrial>> DrawTrials(const AllocationProblem& problem,
                                                    const RandomSearchOptions& options) {
  QUANTD_RETURN_IF_ERROR(CheckLayers(problem));
  QUANTD_RETURN_IF_ERROR(CheckOptions(problem, options));
  QUANTD_ASSIGN_OR_RETURN(const DrawPlan plan, PlanDraws(problem, options));
  const double least = Share(plan.always_low, plan.parameters);
  if (least > options.low_share) {
    return absl::OutOfRangeError(absl::StrCat("no plan has a Q_r of ", options.low_share,
                                              " or less: layers that cannot stay dense make ",
                                              PrintedLimit(least), " the least"));
  }
  std::vector<RandomTrial> trials;
  trials.reserve(options.trials);
  for (int t = 0; t < options.trials; ++t) {
    QUANTD_RETURN_IF_ERROR(problem.limits.Check());
    trials.push_back(Draw(problem, options, plan, static_cast<uint32_t>(t)));
  }
  return trials;
}

absl::StatusOr<int> BestTrial(absl::Span<const RandomTrial> trials,
                              absl::Span<const double> losses) {
  if (trials.empty()) return absl::InvalidArgumentError("there are no trials to choose from");
  if (!losses.empty() && losses.size() != trials.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(losses.size(), " losses for ", trials.size(), " trials"));
  }
  int best = 0;
  const auto loss = [&](int t) { return losses.empty() ? trials[t].totals.error : losses[t]; };
  for (int t = 0; t < static_cast<int>(trials.size()); ++t) {
    if (std::isnan(loss(t))) {
      return absl::InvalidArgumentError(absl::StrCat("the loss of trial ", t, " is not a number"));
    }
    if (loss(t) < loss(best)) best = t;
  }
  return best;
}

}  // namespace quantd
