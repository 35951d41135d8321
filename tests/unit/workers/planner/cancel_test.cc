// A token that is set ends whatever the planner is at.
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/workers/planner/plan_problems.h"
#include "workers/core/cancel.h"
#include "workers/planner/allocation.h"
#include "workers/planner/knapsack.h"
#include "workers/planner/random_search.h"

namespace quantd {
namespace {

AllocationProblem WithGoal(AllocationProblem problem, GoalKind kind) {
  uint64_t parameters = 0;
  for (const PlanLayer& layer : problem.layers) parameters += layer.parameters;
  problem.goal = {.kind = kind, .bytes = parameters, .error = 0.05, .low_share = 0.37};
  return problem;
}

constexpr GoalKind kGoals[] = {GoalKind::kBytes, GoalKind::kError, GoalKind::kLowShare};

TEST(PlannerCancelTest, NothingBeginsWithASetToken) {
  std::mt19937 rng(1);
  CancelToken token;
  AllocationProblem problem = FullProblem(20, 3, &rng);
  problem.limits.cancel = &token;
  const std::vector<std::vector<KnapsackOption>> classes = {{{1, 1}, {2, 0}}};
  KnapsackLimits limits;
  limits.cancel = &token;
  for (const GoalKind kind : kGoals) EXPECT_TRUE(Allocate(WithGoal(problem, kind)).ok());
  EXPECT_TRUE(SolveKnapsack(classes, 1, limits).ok());

  token.Cancel(absl::StatusCode::kDeadlineExceeded);
  const absl::StatusCode code = absl::StatusCode::kDeadlineExceeded;
  for (const GoalKind kind : kGoals) {
    EXPECT_EQ(Allocate(WithGoal(problem, kind)).status().code(), code);
  }
  EXPECT_EQ(SolveKnapsack(classes, 1, limits).status().code(), code);
  EXPECT_EQ(ModelFrontier(problem, 9).status().code(), code);
  EXPECT_EQ(DrawTrials(problem, {.low_share = 0.5}).status().code(), code);
}

// Of a second or more each, ended after nothing to some thirty milliseconds.
class PlannerCancelDuringTest : public ::testing::TestWithParam<int> {
 protected:
  // Runs `plan` until the token ends it.
  void ExpectEnds(const std::function<absl::Status(const AllocationProblem&)>& plan,
                  AllocationProblem problem) {
    CancelToken token;
    problem.limits.max_states = uint64_t{1} << 25;
    problem.limits.cancel = &token;
    absl::Status status;
    std::thread worker([&] { status = plan(problem); });
    std::mt19937 rng(2);
    const AllocationProblem small = WithGoal(FullProblem(1000, 5, &rng), GoalKind::kBytes);
    for (int i = 0; i < GetParam(); ++i) EXPECT_TRUE(Allocate(small).ok());
    token.Cancel();
    worker.join();
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  }
};

TEST_P(PlannerCancelDuringTest, ASearchEnds) {
  std::mt19937 rng(3);
  const AllocationProblem problem = StubbornProblem(8000, &rng);
  for (const GoalKind kind : kGoals) {
    ExpectEnds([](const AllocationProblem& of) { return Allocate(of).status(); },
               WithGoal(problem, kind));
  }
}

TEST_P(PlannerCancelDuringTest, AFrontierAndDrawsEnd) {
  std::mt19937 rng(4);
  const AllocationProblem problem = StubbornProblem(600, &rng);
  ExpectEnds([](const AllocationProblem& of) { return ModelFrontier(of, 1000).status(); }, problem);
  ExpectEnds(
      [](const AllocationProblem& of) {
        return DrawTrials(of, {.trials = 100000, .low_share = 0.5}).status();
      },
      problem);
}

// Sets whose layers have thousands of candidates each are compared for long before any search.
TEST_P(PlannerCancelDuringTest, TheChecksEnd) {
  constexpr int kLayers = 150, kCandidates = 4000;
  AllocationProblem problem;
  problem.candidates.assign(kCandidates, "q");
  std::vector<int> all;
  for (int l = 0; l < kLayers; ++l) {
    PlanLayer layer = {"l", 1000, 1, {}};
    for (int c = 0; c < kCandidates; ++c) layer.options.push_back({c, 500, 0.1, 64});
    problem.layers.push_back(layer);
    all.push_back(l);
  }
  problem.same = {all};
  ExpectEnds([](const AllocationProblem& of) { return Allocate(of).status(); },
             WithGoal(problem, GoalKind::kBytes));
}

INSTANTIATE_TEST_SUITE_P(, PlannerCancelDuringTest, ::testing::Values(0, 1, 3, 9),
                         [](const auto& info) { return "After" + std::to_string(info.param); });

}  // namespace
}  // namespace quantd
