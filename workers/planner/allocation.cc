#include "workers/planner/allocation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "workers/core/status_macros.h"
#include "workers/planner/allocation_check.h"
#include "workers/planner/knapsack.h"
#include "workers/planner/layer_classes.h"
#include "workers/planner/low_share_plan.h"
#include "workers/planner/plan_totals.h"

namespace quantd {
namespace {

// What a search over the classes found.
struct Found {
  std::vector<int> choice;  // by class: index of its option
  double bound = 0;
  bool optimum = false;
  uint64_t states = 0;
};

enum class Least { kBytes, kError };

// The plan of fewest bytes or least error whatever the goal: by class, index of its option.
std::vector<int> LeastOf(const std::vector<LayerClass>& classes, Least what) {
  std::vector<int> choice;
  for (const LayerClass& of : classes) {
    const auto least = std::min_element(
        of.options.begin(), of.options.end(), [&](const ClassOption& a, const ClassOption& b) {
          return what == Least::kBytes ? a.bytes < b.bytes : a.error < b.error;
        });
    choice.push_back(static_cast<int>(least - of.options.begin()));
  }
  return choice;
}

std::vector<int> LayerChoice(const AllocationProblem& problem,
                             const std::vector<LayerClass>& classes,
                             const std::vector<int>& option_of_class) {
  std::vector<int> candidates;
  for (size_t c = 0; c < classes.size(); ++c) {
    candidates.push_back(classes[c].options[option_of_class[c]].candidate);
  }
  return ChoiceOf(problem, classes, candidates);
}

// OUT_OF_RANGE with the nearest that can be met; for a goal in bytes or error.
absl::Status CheckReachable(const AllocationProblem& problem,
                            const std::vector<LayerClass>& classes) {
  const PlanGoal& goal = problem.goal;
  const bool by_bytes = goal.kind == GoalKind::kBytes;
  const std::vector<int> nearest = LeastOf(classes, by_bytes ? Least::kBytes : Least::kError);
  const PlanTotals totals = TotalsOf(problem.layers, LayerChoice(problem, classes, nearest));
  if (Meets(goal, totals)) return absl::OkStatus();
  if (!by_bytes) {
    return absl::OutOfRangeError(absl::StrCat("no plan has an error of ", goal.error,
                                              " or less: the least is ",
                                              PrintedLimit(totals.error)));
  }
  const double scale = totals.bits_per_weight / static_cast<double>(totals.bytes);
  return absl::OutOfRangeError(absl::StrFormat(
      "the budget of %d bytes (%.2f bits a weight) cannot be met: the smallest plan takes %d bytes "
      "(%.2f bits a weight)",
      goal.bytes, static_cast<double>(goal.bytes) * scale, totals.bytes, totals.bits_per_weight));
}

std::vector<std::vector<KnapsackOption>> KnapsackClasses(const std::vector<LayerClass>& classes,
                                                         GoalKind kind) {
  std::vector<std::vector<KnapsackOption>> knapsack;
  for (const LayerClass& of : classes) {
    std::vector<KnapsackOption> options;
    for (const ClassOption& option : of.options) {
      const auto bytes = static_cast<double>(option.bytes);
      options.push_back(kind == GoalKind::kBytes ? KnapsackOption{bytes, option.error}
                                                 : KnapsackOption{option.error, bytes});
    }
    knapsack.push_back(std::move(options));
  }
  return knapsack;
}

absl::StatusOr<Found> Search(const AllocationProblem& problem,
                             const std::vector<LayerClass>& classes) {
  const PlanGoal& goal = problem.goal;
  if (goal.kind == GoalKind::kLowShare) {
    QUANTD_ASSIGN_OR_RETURN(LowSharePlan plan, PlanLowShare(classes, goal, problem.limits));
    return Found{std::move(plan.choice), plan.bound, plan.optimum, plan.states};
  }
  QUANTD_RETURN_IF_ERROR(CheckReachable(problem, classes));
  const double capacity =
      goal.kind == GoalKind::kBytes ? static_cast<double>(goal.bytes) : ErrorLimit(goal);
  QUANTD_ASSIGN_OR_RETURN(
      KnapsackSolution solution,
      SolveKnapsack(KnapsackClasses(classes, goal.kind), capacity, problem.limits));
  return Found{std::move(solution.choice), solution.bound, solution.gap() == 0, solution.states};
}

// What the goal makes least.
double Objective(const PlanGoal& goal, const PlanTotals& totals) {
  return goal.kind == GoalKind::kError ? static_cast<double>(totals.bytes) : totals.error;
}

// A search that ran out of states may have stopped short of what one candidate for all does.
void TakeUniformIfBetter(const AllocationProblem& problem, const std::vector<LayerClass>& classes,
                         Plan* plan) {
  if (plan->best_uniform < 0 || plan->gap == 0) return;
  const UniformPlan& uniform = plan->uniform[plan->best_uniform];
  if (!IsBetter(problem.goal, uniform.totals, plan->totals)) return;
  std::vector<int> candidate_of_class;
  candidate_of_class.reserve(classes.size());
  for (const LayerClass& of : classes) {
    candidate_of_class.push_back(UniformCandidate(of, uniform.candidate));
  }
  plan->choice = ChoiceOf(problem, classes, candidate_of_class);
  plan->totals = uniform.totals;
}

void SetBound(const PlanGoal& goal, const Found& found, Plan* plan) {
  const double reached = Objective(goal, plan->totals);
  plan->bound = found.optimum ? reached : std::min(found.bound, reached);
  plan->gap = reached > plan->bound ? (reached - plan->bound) / reached : 0;
}

}  // namespace

absl::StatusOr<Plan> Allocate(const AllocationProblem& problem) {
  QUANTD_RETURN_IF_ERROR(CheckLayers(problem));
  QUANTD_RETURN_IF_ERROR(CheckGoal(problem.goal));
  QUANTD_ASSIGN_OR_RETURN(const std::vector<LayerClass> classes, ClassesOf(problem));
  QUANTD_ASSIGN_OR_RETURN(const Found found, Search(problem, classes));
  Plan plan;
  plan.choice = LayerChoice(problem, classes, found.choice);
  plan.states = found.states;
  plan.totals = TotalsOf(problem.layers, plan.choice);
  plan.uniform = UniformPlans(problem, classes);
  QUANTD_RETURN_IF_ERROR(problem.limits.Check());
  plan.best_uniform = BestUniform(problem.goal, plan.uniform);
  SetBound(problem.goal, found, &plan);
  TakeUniformIfBetter(problem, classes, &plan);
  SetBound(problem.goal, found, &plan);
  return plan;
}

absl::StatusOr<std::vector<PlanTotals>> ModelFrontier(const AllocationProblem& problem, int count) {
  constexpr int kMostPoints = 1000;
  // For a drawing: what a longer search would gain cannot be seen.
  constexpr uint64_t kMostStates = uint64_t{1} << 18;
  if (count < 2 || count > kMostPoints) {
    return absl::InvalidArgumentError(absl::StrCat("the frontier is to have ", count,
                                                   " points: there must be 2 to ", kMostPoints));
  }
  QUANTD_RETURN_IF_ERROR(CheckLayers(problem));
  QUANTD_ASSIGN_OR_RETURN(const std::vector<LayerClass> classes, ClassesOf(problem));
  const std::vector<std::vector<KnapsackOption>> options =
      KnapsackClasses(classes, GoalKind::kBytes);
  double least = 0, most = 0;
  for (const std::vector<KnapsackOption>& of : options) {
    const auto [smallest, largest] = std::minmax_element(
        of.begin(), of.end(),
        [](const KnapsackOption& a, const KnapsackOption& b) { return a.size < b.size; });
    least += smallest->size;
    most += largest->size;
  }
  KnapsackLimits limits = problem.limits;
  limits.max_states = std::min(limits.max_states, kMostStates);
  std::vector<PlanTotals> frontier;
  for (int i = 0; i < count; ++i) {
    const double budget = least + (most - least) * i / (count - 1);
    QUANTD_ASSIGN_OR_RETURN(const KnapsackSolution solution,
                            SolveKnapsack(options, budget, limits));
    frontier.push_back(TotalsOf(problem.layers, LayerChoice(problem, classes, solution.choice)));
  }
  return frontier;
}

}  // namespace quantd
