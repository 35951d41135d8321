#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/reference/knapsack_reference.h"
#include "tests/unit/workers/planner/plan_problems.h"
#include "workers/planner/allocation.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;

AllocationProblem WithShare(AllocationProblem problem, double share) {
  problem.goal.kind = GoalKind::kLowShare;
  problem.goal.low_share = share;
  return problem;
}

bool IsDense(const AllocationProblem& problem, const std::vector<int>& choice, size_t l) {
  return problem.layers[l].options[choice[l]].candidate == kDense;
}

uint64_t DenseParameters(const AllocationProblem& problem, const std::vector<int>& choice) {
  uint64_t dense = 0;
  for (size_t l = 0; l < choice.size(); ++l) {
    if (IsDense(problem, choice, l)) dense += problem.layers[l].parameters;
  }
  return dense;
}

TEST(LowShareTest, TheShareIsNeverExceeded) {
  std::mt19937 rng(1);
  int planned = 0;
  for (int round = 0; round < 1000; ++round) {
    const AllocationProblem problem = WithShare(RandomProblem(30, 3, &rng), Below(21, &rng) / 20.0);
    const absl::StatusOr<Plan> plan = Allocate(problem);
    if (!plan.ok()) {
      EXPECT_EQ(plan.status().code(), absl::StatusCode::kOutOfRange);
      continue;
    }
    ++planned;
    EXPECT_LE(plan->totals.low_share, problem.goal.low_share) << round;
    EXPECT_TRUE(SetsAgree(problem, plan->choice));
    EXPECT_LE(plan->bound, plan->totals.error);
  }
  EXPECT_GT(planned, 500);
}

// The parameters that stay dense are at least H; of plans with no more of them than it has, none
// has less error.
TEST(LowShareTest, NoPlanThatKeepsAsMuchDenseHasLessError) {
  std::mt19937 rng(2);
  for (int round = 0; round < 200; ++round) {
    AllocationProblem problem = WithShare(FullProblem(2 + Below(5, &rng), 2, &rng), Fraction(&rng));
    if (round % 2 == 0) problem.same = {{0, 1}};
    const absl::StatusOr<Plan> plan = Allocate(problem);
    ASSERT_TRUE(plan.ok()) << plan.status();
    double least = std::numeric_limits<double>::infinity();
    const uint64_t dense = DenseParameters(problem, plan->choice);
    reference::ForEachChoice(
        std::vector<int>(problem.layers.size(), 3), [&](const std::vector<int>& choice) {
          if (SetsAgree(problem, choice) && DenseParameters(problem, choice) <= dense) {
            least = std::min(least, PlainError(problem, choice));
          }
        });
    EXPECT_NEAR(plan->totals.error, least, 1e-12) << round;
    EXPECT_EQ(plan->gap, 0);
  }
}

// Cut short at any state, it keeps the share, and what it says of better plans holds.
TEST(LowShareTest, APlanThatRunsOutOfStatesKeepsTheShareAndSaysHowGoodItIs) {
  std::mt19937 rng(8);
  int unfinished = 0;
  for (int round = 0; round < 300; ++round) {
    AllocationProblem problem =
        round % 2 == 0 ? StubbornProblem(10, &rng) : FullProblem(8, 1, &rng);
    problem = WithShare(problem, 0.1 + 0.8 * Fraction(&rng));
    problem.limits.max_states = Below(60, &rng);
    const absl::StatusOr<Plan> plan = Allocate(problem);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_LE(plan->totals.low_share, problem.goal.low_share);
    EXPECT_LE(plan->states, problem.limits.max_states);
    double least = std::numeric_limits<double>::infinity();
    const uint64_t dense = DenseParameters(problem, plan->choice);
    reference::ForEachChoice(std::vector<int>(problem.layers.size(), 2),
                             [&](const std::vector<int>& choice) {
                               if (DenseParameters(problem, choice) > dense) return;
                               least = std::min(least, PlainError(problem, choice));
                             });
    EXPECT_LE(plan->bound, least * (1 + 1e-12)) << round;
    if (plan->gap == 0) {
      EXPECT_NEAR(plan->totals.error, least, 1e-12) << round;
    }
    unfinished += plan->gap > 0 ? 1 : 0;
  }
  EXPECT_GT(unfinished, 50);
}

// However often the share asks for more: the states are those of one search.
TEST(LowShareTest, AllSearchesOfAPlanShareItsStates) {
  std::mt19937 rng(9);
  for (const uint64_t states : {1000, 30000, 300000}) {
    AllocationProblem problem = WithShare(StubbornProblem(1000, &rng), 0.37);
    problem.limits.max_states = states;
    const absl::StatusOr<Plan> plan = Allocate(problem);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->states, states);
    EXPECT_LE(plan->totals.low_share, 0.37);
    EXPECT_GT(plan->totals.low_share, 0.369);
    EXPECT_GT(plan->gap, 0);
    EXPECT_LT(plan->gap, 1e-3);
  }
}

// All sizes are multiples of 100, and so many different ones add up to any of them. Where a
// parameter of one layer is worth as much as one of another, nothing speaks against such a sum;
// otherwise it may take a little more for less error.
TEST(LowShareTest, TheShareIsUsedAsFarAsSizesAllow) {
  std::mt19937 rng(3);
  for (int round = 0; round < 200; ++round) {
    AllocationProblem problem = WithShare(FullProblem(40, 1, &rng), 0.1 + 0.8 * Fraction(&rng));
    double all = 0;
    for (PlanLayer& layer : problem.layers) {
      all += static_cast<double>(layer.parameters);
      if (round % 2 == 1) continue;
      layer.sensitivity = 1;
      layer.options[1].error = 0.1;
    }
    const absl::StatusOr<Plan> plan = Allocate(problem);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_LE(plan->totals.low_share, problem.goal.low_share);
    const double most = round % 2 == 1 ? 2000 : 100;  // a middling layer's parameters
    EXPECT_GT(plan->totals.low_share + most / all, problem.goal.low_share) << round;
  }
}

// Two sizes that do not add up to what is asked for, with little or much in common.
TEST(LowShareTest, NoMoreThanNecessaryIsKeptDenseBeyondTheShare) {
  for (const uint64_t unit : {1, 1000, 1000003}) {
    AllocationProblem problem;
    problem.candidates = {"q"};
    for (const uint64_t parameters : {7, 7, 7, 7, 11, 11, 11}) {
      problem.layers.push_back({"l", parameters * unit, 1, {{0, 9, 0.1, 8}, {kDense, 99, 0, 0}}});
    }
    // 13 of 61 must stay dense and 14 is the next that sizes allow; 10 of 61: 11.
    const absl::StatusOr<Plan> two = Allocate(WithShare(problem, 48.0 / 61));
    ASSERT_TRUE(two.ok());
    EXPECT_EQ(DenseParameters(problem, two->choice), 14 * unit);
    const absl::StatusOr<Plan> one = Allocate(WithShare(problem, 51.0 / 61));
    ASSERT_TRUE(one.ok());
    EXPECT_EQ(DenseParameters(problem, one->choice), 11 * unit);
  }
}

TEST(LowShareTest, WholeLayersThatFitTheShareExactlyAreFound) {
  AllocationProblem problem;
  problem.candidates = {"q"};
  for (const uint64_t parameters : {300, 200, 500}) {
    problem.layers.push_back({"l", parameters, 1, {{0, 9, 0.1, 8}, {kDense, 99, 0, 0}}});
  }
  problem.layers[2].sensitivity = 2;
  const absl::StatusOr<Plan> half = Allocate(WithShare(problem, 0.5));
  ASSERT_TRUE(half.ok());
  EXPECT_THAT(half->choice, ElementsAre(0, 0, 1));
  EXPECT_EQ(half->totals.low_share, 0.5);
  // Nothing adds up to 400: one more than needed stays dense.
  const absl::StatusOr<Plan> less = Allocate(WithShare(problem, 0.49));
  ASSERT_TRUE(less.ok());
  EXPECT_LE(less->totals.low_share, 0.49);
  EXPECT_GE(less->totals.low_share, 0.2);
  const absl::StatusOr<Plan> none = Allocate(WithShare(problem, 0));
  ASSERT_TRUE(none.ok());
  EXPECT_THAT(none->choice, ElementsAre(1, 1, 1));
  const absl::StatusOr<Plan> all = Allocate(WithShare(problem, 1));
  ASSERT_TRUE(all.ok());
  EXPECT_THAT(all->choice, ElementsAre(0, 0, 0));
}

// Nothing is gained by keeping such layers dense, and still enough of them must be.
TEST(LowShareTest, LayersWithoutErrorStayDenseWhenTheShareAsksForIt) {
  std::mt19937 rng(4);
  for (const double share : {0.0, 0.25, 0.5, 0.9}) {
    AllocationProblem problem = WithShare(FullProblem(20, 2, &rng), share);
    for (PlanLayer& layer : problem.layers) {
      for (LayerOption& option : layer.options) option.error = 0;
    }
    const absl::StatusOr<Plan> plan = Allocate(problem);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_LE(plan->totals.low_share, share);
    EXPECT_GT(plan->totals.low_share, share - 0.1);
    EXPECT_EQ(plan->totals.error, 0);
  }
}

TEST(LowShareTest, LayersThatCannotStayDenseCountAsLow) {
  std::mt19937 rng(5);
  for (int round = 0; round < 100; ++round) {
    AllocationProblem problem = WithShare(FullProblem(10, 2, &rng), 0.6);
    std::erase_if(problem.layers[3].options,
                  [](const LayerOption& option) { return option.candidate == kDense; });
    std::erase_if(problem.layers[7].options,
                  [](const LayerOption& option) { return option.candidate != kDense; });
    const absl::StatusOr<Plan> plan = Allocate(problem);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_FALSE(IsDense(problem, plan->choice, 3));
    EXPECT_TRUE(IsDense(problem, plan->choice, 7));
    EXPECT_LE(plan->totals.low_share, 0.6);
  }
}

TEST(LowShareTest, LowPrecisionIsTheCandidateOfLeastError) {
  std::mt19937 rng(6);
  AllocationProblem problem = WithShare(FullProblem(12, 4, &rng), 0.7);
  problem.layers[5].options[2].error = 1e-6;  // candidate 1
  const absl::StatusOr<Plan> plan = Allocate(problem);
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (size_t l = 0; l < problem.layers.size(); ++l) {
    if (IsDense(problem, plan->choice, l)) continue;
    EXPECT_EQ(problem.layers[l].options[plan->choice[l]].candidate, l == 5 ? 1 : 3);
  }
  EXPECT_FALSE(IsDense(problem, plan->choice, 5));
}

TEST(LowShareTest, TheBestUniformUsesTheShare) {
  std::mt19937 rng(7);
  const AllocationProblem problem = FullProblem(5, 3, &rng);
  const absl::StatusOr<Plan> all = Allocate(WithShare(problem, 1));
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->uniform[all->best_uniform].candidate, 2);
  const absl::StatusOr<Plan> some = Allocate(WithShare(problem, 0.99));
  ASSERT_TRUE(some.ok());
  EXPECT_EQ(some->uniform[some->best_uniform].candidate, kDense);
}

}  // namespace
}  // namespace quantd
