#include "workers/planner/allocation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/reference/knapsack_reference.h"
#include "tests/unit/workers/planner/plan_problems.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;

// Calls `visit` with every choice that keeps the sets together.
template <typename Visit>
void ForEachPlan(const AllocationProblem& problem, const Visit& visit) {
  std::vector<int> counts;
  for (const PlanLayer& layer : problem.layers) {
    counts.push_back(static_cast<int>(layer.options.size()));
  }
  reference::ForEachChoice(counts, [&](const std::vector<int>& choice) {
    if (SetsAgree(problem, choice)) visit(choice);
  });
}

Plan Solve(const AllocationProblem& problem) {
  const absl::StatusOr<Plan> plan = Allocate(problem);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *plan : Plan{.choice = std::vector<int>(problem.layers.size(), 0)};
}

// Random problems with a goal in bytes between the smallest and the largest plan.
AllocationProblem WithBudget(AllocationProblem problem, std::mt19937* rng) {
  uint64_t least = std::numeric_limits<uint64_t>::max(), most = 0;
  ForEachPlan(problem, [&](const std::vector<int>& choice) {
    least = std::min(least, PlainBytes(problem, choice));
    most = std::max(most, PlainBytes(problem, choice));
  });
  problem.goal.kind = GoalKind::kBytes;
  problem.goal.bytes = least + static_cast<uint64_t>(Fraction(rng) * (most - least));
  return problem;
}

TEST(AllocationTest, NoPlanWithinTheBudgetHasLessError) {
  std::mt19937 rng(1);
  for (int round = 0; round < 300; ++round) {
    const AllocationProblem problem = WithBudget(RandomProblem(5, 3, &rng), &rng);
    if (AllDontMatter(problem)) continue;
    double least = std::numeric_limits<double>::infinity();
    ForEachPlan(problem, [&](const std::vector<int>& choice) {
      if (PlainBytes(problem, choice) <= problem.goal.bytes) {
        least = std::min(least, PlainError(problem, choice));
      }
    });
    const Plan plan = Solve(problem);
    EXPECT_LE(plan.totals.bytes, problem.goal.bytes);
    EXPECT_NEAR(plan.totals.error, least, 1e-12 * least) << round;
    EXPECT_EQ(plan.bound, plan.totals.error);
    EXPECT_EQ(plan.gap, 0);
    EXPECT_TRUE(SetsAgree(problem, plan.choice));
  }
}

TEST(AllocationTest, NoPlanWithinTheErrorTakesFewerBytes) {
  std::mt19937 rng(2);
  for (int round = 0; round < 300; ++round) {
    AllocationProblem problem = RandomProblem(5, 3, &rng);
    if (AllDontMatter(problem)) continue;
    // As much as some plan has, so that the goal is met to the last digit.
    int left = 1 + Below(40, &rng);
    ForEachPlan(problem, [&](const std::vector<int>& choice) {
      if (--left >= 0) problem.goal.error = PlainError(problem, choice);
    });
    problem.goal.kind = GoalKind::kError;
    uint64_t least = std::numeric_limits<uint64_t>::max();
    ForEachPlan(problem, [&](const std::vector<int>& choice) {
      if (PlainError(problem, choice) <= problem.goal.error * (1 + 1e-12)) {
        least = std::min(least, PlainBytes(problem, choice));
      }
    });
    const Plan plan = Solve(problem);
    EXPECT_EQ(plan.totals.bytes, least) << round;
    EXPECT_LE(plan.totals.error, problem.goal.error * (1 + 1e-12));
    EXPECT_EQ(plan.bound, static_cast<double>(least));
    EXPECT_EQ(plan.gap, 0);
    EXPECT_TRUE(SetsAgree(problem, plan.choice));
  }
}

TEST(AllocationTest, IsNeverWorseThanTheBestUniformCandidateAtItsSize) {
  std::mt19937 rng(3);
  for (int round = 0; round < 1000; ++round) {
    AllocationProblem problem = RandomProblem(30, 5, &rng);
    problem.limits.max_states = round % 2 == 0 ? KnapsackLimits().max_states : Below(20, &rng);
    problem.goal.kind = GoalKind::kBytes;
    problem.goal.bytes = uint64_t{1} << 40;
    const std::vector<UniformPlan> uniform = Solve(problem).uniform;
    ASSERT_FALSE(uniform.empty());
    const PlanTotals& at = uniform[Below(static_cast<int>(uniform.size()), &rng)].totals;
    problem.goal.bytes = at.bytes;
    const Plan plan = Solve(problem);
    EXPECT_LE(plan.totals.bytes, problem.goal.bytes);
    EXPECT_LE(plan.totals.error, at.error * (1 + 1e-12)) << round;
    EXPECT_LE(plan.bound, plan.totals.error);
    ASSERT_GE(plan.best_uniform, 0);
    EXPECT_LE(plan.uniform[plan.best_uniform].totals.bytes, problem.goal.bytes);
    EXPECT_LE(plan.uniform[plan.best_uniform].totals.error, at.error);

    problem.goal.kind = GoalKind::kError;
    problem.goal.error = at.error;
    const Plan small = Solve(problem);
    EXPECT_LE(small.totals.bytes, at.bytes) << round;
    EXPECT_LE(small.totals.error, at.error * (1 + 1e-12)) << round;

    // The goal is met to the last digit by the plan of the other goal.
    if (plan.gap > 0) continue;
    problem.limits = KnapsackLimits();
    problem.goal.error = plan.totals.error;
    EXPECT_LE(Solve(problem).totals.bytes, plan.totals.bytes) << round;
  }
}

TEST(AllocationTest, ALargerBudgetNeverHasMoreError) {
  std::mt19937 rng(4);
  AllocationProblem problem = FullProblem(60, 6, &rng);
  problem.same = {{0, 1, 2}, {10, 11}, {11, 12}};
  problem.goal.bytes = 200000;
  double last = std::numeric_limits<double>::infinity();
  for (; problem.goal.bytes < 300000; problem.goal.bytes += 1111) {
    const Plan plan = Solve(problem);
    EXPECT_LE(plan.totals.error, last);
    last = plan.totals.error;
  }
}

TEST(AllocationTest, LayersOfOneSetTakeOneCandidate) {
  std::mt19937 rng(5);
  AllocationProblem problem = FullProblem(6, 3, &rng);
  // What the first would like best is not what the others would, but 4 follows 0 through 2.
  problem.same = {{0, 2}, {2, 4}};
  problem.layers[0].sensitivity = 100;
  problem.layers[2].sensitivity = 0.001;
  problem.goal.bytes = 0;
  for (const PlanLayer& layer : problem.layers) problem.goal.bytes += layer.parameters / 2;
  const Plan plan = Solve(problem);
  const auto candidate = [&](int l) { return problem.layers[l].options[plan.choice[l]].candidate; };
  EXPECT_EQ(candidate(0), candidate(2));
  EXPECT_EQ(candidate(0), candidate(4));
  problem.same.clear();
  EXPECT_LE(Solve(problem).totals.error, plan.totals.error);
}

TEST(AllocationTest, WhatIsRuledOutIsNotTaken) {
  std::mt19937 rng(6);
  AllocationProblem problem = FullProblem(8, 4, &rng);
  problem.goal.bytes = uint64_t{1} << 40;
  std::erase_if(problem.layers[3].options,
                [](const LayerOption& option) { return option.candidate == kDense; });
  const Plan plan = Solve(problem);
  for (int l = 0; l < 8; ++l) {
    EXPECT_EQ(problem.layers[l].options[plan.choice[l]].candidate, l == 3 ? 3 : kDense);
  }
  EXPECT_EQ(plan.uniform.size(), 4u);
}

TEST(AllocationTest, SensitivitiesThatAreAllZeroCountAsEqual) {
  std::mt19937 rng(7);
  AllocationProblem problem = FullProblem(20, 4, &rng);
  for (PlanLayer& layer : problem.layers) layer.sensitivity = 1;
  problem.goal.bytes = 40000;
  const Plan ones = Solve(problem);
  for (PlanLayer& layer : problem.layers) layer.sensitivity = 0;
  const Plan zeros = Solve(problem);
  EXPECT_EQ(zeros.choice, ones.choice);
  EXPECT_EQ(zeros.totals.error, ones.totals.error);
  EXPECT_GT(zeros.totals.error, 0);
}

TEST(AllocationTest, UnitsOfTheSensitivityDoNotMatter) {
  std::mt19937 rng(8);
  AllocationProblem problem = FullProblem(20, 4, &rng);
  problem.goal.bytes = 40000;
  const Plan once = Solve(problem);
  for (PlanLayer& layer : problem.layers) layer.sensitivity *= 0x1p+1020;
  const Plan scaled = Solve(problem);
  EXPECT_EQ(scaled.choice, once.choice);
  EXPECT_EQ(scaled.totals.error, once.totals.error);
}

TEST(AllocationTest, TotalsAreThoseOfTheChoice) {
  std::vector<PlanLayer> layers(3);
  layers[0] = {"a", 100, 1, {{0, 50, 0.5, 20}, {kDense, 200, 0, 0}}};
  layers[1] = {"b", 300, 2, {{0, 130, 0.1, 32}, {kDense, 600, 0, 0}}};
  layers[2] = {"c", 600, 0.5, {{0, 290, 0.3, 300}, {kDense, 1200, 0, 0}}};
  const PlanTotals mixed = TotalsOf(layers, {0, 0, 1});
  EXPECT_EQ(mixed.bytes, 50u + 130 + 1200);
  EXPECT_DOUBLE_EQ(mixed.bits_per_weight, 8.0 * 1380 / 1000);
  EXPECT_DOUBLE_EQ(mixed.error, (100 * 0.5 + 600 * 0.1) / (100 + 600 + 300));
  EXPECT_DOUBLE_EQ(mixed.low_share, 0.4);
  EXPECT_DOUBLE_EQ(mixed.block, 400.0 / (5 + 10));  // the last of 300 / 32 scales is shared less
  const PlanTotals dense = TotalsOf(layers, {1, 1, 1});
  EXPECT_EQ(dense.low_share, 0);
  EXPECT_EQ(dense.block, 0);
  EXPECT_EQ(dense.error, 0);
  EXPECT_EQ(TotalsOf(layers, {0, 0, 0}).low_share, 1);
}

TEST(AllocationTest, UniformPlansComeBySizeWithTheBestThatMeetsTheGoal) {
  AllocationProblem problem;
  problem.candidates = {"big", "small", "partly"};
  problem.layers = {{"a", 10, 1, {{0, 40, 0.1, 1}, {1, 20, 0.3, 1}, {2, 1, 0, 1}}},
                    {"b", 10, 1, {{1, 20, 0.5, 1}, {0, 40, 0.1, 1}}}};
  problem.goal.bytes = 79;
  const Plan tight = Solve(problem);
  ASSERT_EQ(tight.uniform.size(), 2u);
  EXPECT_EQ(tight.uniform[0].candidate, 1);
  EXPECT_EQ(tight.uniform[1].candidate, 0);
  EXPECT_EQ(tight.uniform[0].totals.bytes, 40u);
  EXPECT_DOUBLE_EQ(tight.uniform[0].totals.error, 0.4);
  EXPECT_EQ(tight.best_uniform, 0);
  EXPECT_THAT(tight.choice, ElementsAre(2, 1));
  problem.goal.bytes = 80;
  EXPECT_EQ(Solve(problem).best_uniform, 1);
  problem.goal.bytes = 39;
  EXPECT_EQ(Solve(problem).best_uniform, -1);
  problem.goal = {GoalKind::kError, 0, 0.5, 0};
  EXPECT_EQ(Solve(problem).best_uniform, 0);
  problem.goal.error = 0.2;
  EXPECT_EQ(Solve(problem).best_uniform, 1);
}

TEST(AllocationTest, LayersWithoutAChoiceHinderNoUniformPlan) {
  AllocationProblem problem;
  problem.candidates = {"four", "three"};
  problem.layers = {{"a", 10, 1, {{0, 5, 0.1, 1}, {1, 4, 0.3, 1}, {kDense, 20, 0, 0}}},
                    {"kept", 10, 1, {{kDense, 20, 0, 0}}}};
  problem.goal.bytes = 25;
  const Plan plan = Solve(problem);
  ASSERT_EQ(plan.uniform.size(), 3u);
  EXPECT_EQ(plan.uniform[0].candidate, 1);
  EXPECT_EQ(plan.uniform[0].totals.bytes, 24u);
  EXPECT_EQ(plan.uniform[1].candidate, 0);
  EXPECT_DOUBLE_EQ(plan.uniform[1].totals.low_share, 0.5);
  EXPECT_EQ(plan.best_uniform, 1);
  // A candidate that no layer has is no plan.
  problem.layers.erase(problem.layers.begin());
  EXPECT_EQ(Solve(problem).uniform.size(), 1u);
}

TEST(AllocationTest, AUniformPlanTearsNoLayersApartThatMustAgree) {
  AllocationProblem problem;
  problem.candidates = {"four", "three"};
  const std::vector<LayerOption> choice = {{0, 5, 0.1, 1}, {1, 4, 0.3, 1}, {kDense, 20, 0, 0}};
  problem.layers = {
      {"kept", 10, 1, {{kDense, 20, 0, 0}}}, {"tied", 10, 1, choice}, {"free", 10, 1, choice}};
  problem.same = {{0, 1}};
  problem.goal.kind = GoalKind::kError;
  problem.goal.error = 1;
  const Plan plan = Solve(problem);
  ASSERT_EQ(plan.uniform.size(), 3u);
  EXPECT_EQ(plan.uniform[0].candidate, 1);
  EXPECT_EQ(plan.uniform[0].totals.bytes, 44u) << "the tied layer stays with the kept one";
  EXPECT_EQ(plan.totals.bytes, 44u);
}

TEST(AllocationTest, AGapIsReportedWhenStatesRunOut) {
  std::mt19937 rng(9);
  AllocationProblem problem = FullProblem(60, 5, &rng);
  problem.goal.bytes = 60000;
  const Plan best = Solve(problem);
  EXPECT_EQ(best.gap, 0);
  problem.limits.max_states = 3;
  const Plan stopped = Solve(problem);
  EXPECT_LE(stopped.totals.bytes, problem.goal.bytes);
  EXPECT_GE(stopped.totals.error, best.totals.error);
  EXPECT_LE(stopped.bound, best.totals.error);
  EXPECT_GT(stopped.gap, 0);
  EXPECT_NEAR(stopped.gap, 1 - stopped.bound / stopped.totals.error, 1e-12);
}

TEST(ModelFrontierTest, IsTheLeastErrorAtBudgetsSpreadEvenly) {
  std::mt19937 rng(10);
  AllocationProblem problem = FullProblem(30, 5, &rng);
  problem.same = {{0, 1}, {5, 6, 7}};
  double least = 0, most = 0;  // every layer has candidate 0 as its smallest and kDense
  for (const PlanLayer& layer : problem.layers) {
    least += static_cast<double>(layer.options[1].bytes);
    most += static_cast<double>(layer.options[0].bytes);
  }
  const absl::StatusOr<std::vector<PlanTotals>> frontier = ModelFrontier(problem, 33);
  ASSERT_TRUE(frontier.ok()) << frontier.status();
  ASSERT_EQ(frontier->size(), 33u);
  for (int i = 0; i < 33; ++i) {
    const PlanTotals& at = (*frontier)[i];
    EXPECT_LE(static_cast<double>(at.bytes), least + (most - least) * i / 32) << i;
    problem.goal.bytes = static_cast<uint64_t>(least + (most - least) * i / 32);
    EXPECT_NEAR(Solve(problem).totals.error, at.error, 1e-12 * at.error) << i;
    EXPECT_LE(at.error, (*frontier)[std::max(0, i - 1)].error) << i;
  }
}

}  // namespace
}  // namespace quantd
