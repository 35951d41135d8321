#include "workers/planner/random_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/workers/planner/plan_problems.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

std::vector<RandomTrial> Draw(const AllocationProblem& problem,
                              const RandomSearchOptions& options) {
  const absl::StatusOr<std::vector<RandomTrial>> trials = DrawTrials(problem, options);
  EXPECT_TRUE(trials.ok()) << trials.status();
  return trials.ok() ? *trials : std::vector<RandomTrial>();
}

int CandidateOf(const AllocationProblem& problem, const RandomTrial& trial, int l) {
  return problem.layers[l].options[trial.choice[l]].candidate;
}

void Remove(PlanLayer* layer, int candidate) {
  std::erase_if(layer->options,
                [&](const LayerOption& option) { return option.candidate == candidate; });
}

TEST(RandomSearchTest, NoDrawExceedsTheShareAndAllUseIt) {
  std::mt19937 rng(1);
  for (const double share : {0.0, 0.3, 0.77, 1.0}) {
    const AllocationProblem problem = FullProblem(50, 3, &rng);
    for (const RandomTrial& trial : Draw(problem, {.low_share = share, .candidate = 1})) {
      EXPECT_LE(trial.totals.low_share, share);
      EXPECT_GT(trial.totals.low_share, share - 0.06);  // one layer
      for (int l = 0; l < 50; ++l) {
        const int candidate = CandidateOf(problem, trial, l);
        EXPECT_TRUE(candidate == kDense || candidate == 1);
      }
      EXPECT_NEAR(trial.totals.error, PlainError(problem, trial.choice), 1e-15);
    }
  }
}

TEST(RandomSearchTest, ADrawDependsOnSeedAndNumberAlone) {
  std::mt19937 rng(2);
  const AllocationProblem problem = FullProblem(40, 2, &rng);
  const std::vector<RandomTrial> few = Draw(problem, {.trials = 7, .seed = 5, .low_share = 0.5});
  const std::vector<RandomTrial> many = Draw(problem, {.trials = 60, .seed = 5, .low_share = 0.5});
  const std::vector<RandomTrial> other = Draw(problem, {.trials = 60, .seed = 6, .low_share = 0.5});
  ASSERT_EQ(few.size(), 7u);
  ASSERT_EQ(many.size(), 60u);
  std::set<std::vector<int>> distinct;
  for (int t = 0; t < 7; ++t) EXPECT_EQ(few[t].choice, many[t].choice);
  for (int t = 0; t < 60; ++t) distinct.insert({many[t].choice, other[t].choice});
  EXPECT_EQ(distinct.size(), 120u);
}

TEST(RandomSearchTest, EveryLayerIsDenseAboutAsOften) {
  std::mt19937 rng(3);
  AllocationProblem problem = FullProblem(10, 1, &rng);
  for (PlanLayer& layer : problem.layers) layer.parameters = 100;
  std::vector<int> dense(10, 0);
  for (const RandomTrial& trial : Draw(problem, {.trials = 2000, .low_share = 0.7})) {
    for (int l = 0; l < 10; ++l) dense[l] += CandidateOf(problem, trial, l) == kDense ? 1 : 0;
  }
  for (const int count : dense) EXPECT_NEAR(count, 600, 100);
}

TEST(RandomSearchTest, BlocksAndSetsStayTogether) {
  std::mt19937 rng(4);
  AllocationProblem problem = FullProblem(30, 2, &rng);
  problem.same = {{2, 3}, {9, 25}};
  RandomSearchOptions options = {.low_share = 0.6};
  for (int b = 0; b < 5; ++b) options.blocks.push_back({4 * b, 4 * b + 1, 4 * b + 2, 4 * b + 3});
  bool alone_differ = false;
  for (const RandomTrial& trial : Draw(problem, options)) {
    for (int l = 0; l < 20; ++l) {
      EXPECT_EQ(CandidateOf(problem, trial, l), CandidateOf(problem, trial, l / 4 * 4));
    }
    // Of the third block through a set.
    EXPECT_EQ(CandidateOf(problem, trial, 25), CandidateOf(problem, trial, 8));
    alone_differ |= CandidateOf(problem, trial, 20) != CandidateOf(problem, trial, 21);
    EXPECT_LE(trial.totals.low_share, 0.6);
  }
  EXPECT_TRUE(alone_differ);
}

TEST(RandomSearchTest, LayersWithOneOfBothAlwaysTakeIt) {
  std::mt19937 rng(5);
  AllocationProblem problem = FullProblem(12, 2, &rng);
  Remove(&problem.layers[1], kDense);
  Remove(&problem.layers[5], 0);
  RandomSearchOptions options = {.low_share = 0.5};
  options.blocks = {{0, 1, 2}, {4, 5, 6}};
  bool first_moves = false, second_moves = false;
  for (const RandomTrial& trial : Draw(problem, options)) {
    EXPECT_EQ(CandidateOf(problem, trial, 1), 0);
    EXPECT_EQ(CandidateOf(problem, trial, 5), kDense);
    first_moves |= CandidateOf(problem, trial, 0) == kDense;
    second_moves |= CandidateOf(problem, trial, 4) == 0;
    EXPECT_LE(trial.totals.low_share, 0.5);
  }
  EXPECT_TRUE(first_moves && second_moves);
}

TEST(RandomSearchTest, LayersThatNeverMoveCountOnce) {
  std::mt19937 rng(7);
  AllocationProblem problem = FullProblem(6, 1, &rng);
  for (PlanLayer& layer : problem.layers) layer.parameters = 100;
  Remove(&problem.layers[0], kDense);
  Remove(&problem.layers[3], 0);
  for (const RandomTrial& trial : Draw(problem, {.low_share = 0.5})) {
    EXPECT_EQ(trial.totals.low_share, 0.5);
  }
}

TEST(RandomSearchTest, RefusesWhatCannotBeDrawn) {
  std::mt19937 rng(6);
  const AllocationProblem problem = FullProblem(4, 2, &rng);
  const auto refusal = [](const AllocationProblem& of, const RandomSearchOptions& options,
                          absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
    const absl::StatusOr<std::vector<RandomTrial>> trials = DrawTrials(of, options);
    EXPECT_EQ(trials.status().code(), code) << trials.status();
    return std::string(trials.status().message());
  };
  EXPECT_THAT(refusal(problem, {.trials = 0}), HasSubstr("0 trials"));
  EXPECT_THAT(refusal(problem, {.trials = 100001}), HasSubstr("100001 trials"));
  EXPECT_THAT(refusal(problem, {.low_share = -0.1}), HasSubstr("Q_r of -0.1"));
  EXPECT_THAT(refusal(problem, {.candidate = 2}), HasSubstr("candidate number 2"));
  EXPECT_THAT(refusal(problem, {.candidate = kDense}), HasSubstr("candidate number -1"));
  EXPECT_THAT(refusal(problem, {.blocks = {{0, 4}}}), HasSubstr("blocks[0] names layer 4"));
  EXPECT_THAT(refusal(problem, {.blocks = {{}}}), HasSubstr("blocks[0] holds 0 layers"));
  AllocationProblem neither = problem;
  neither.layers[2].options = {neither.layers[2].options[2]};  // candidate 1
  EXPECT_THAT(refusal(neither, {}), HasSubstr("layer 'layer2' can be neither dense nor q2"));
  AllocationProblem low = problem;
  Remove(&low.layers[0], kDense);
  EXPECT_THAT(refusal(low, {.low_share = 0.001}, absl::StatusCode::kOutOfRange),
              HasSubstr("no plan has a Q_r of 0.001 or less"));
}

TEST(BestTrialTest, IsTheFirstWithTheLeastLoss) {
  std::vector<RandomTrial> trials(4);
  trials[0].totals.error = 3;
  trials[1].totals.error = 1;
  trials[2].totals.error = 1;
  trials[3].totals.error = 2;
  EXPECT_EQ(*BestTrial(trials, {}), 1);
  EXPECT_EQ(*BestTrial(trials, {0.5, 0.4, 0.3, 0.3}), 2);
  EXPECT_EQ(*BestTrial(trials, {-1, 0, 1, 2}), 0);
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(*BestTrial(trials, {infinity, 5, infinity, 7}), 1);
}

TEST(BestTrialTest, RefusesLossesThatDoNotFit) {
  const std::vector<RandomTrial> trials(2);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const absl::StatusCode invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(BestTrial({}, {}).status().code(), invalid);
  EXPECT_EQ(BestTrial(trials, {1}).status().code(), invalid);
  EXPECT_EQ(BestTrial(trials, {1, 2, 3}).status().code(), invalid);
  EXPECT_EQ(BestTrial(trials, {1, nan}).status().code(), invalid);
}

}  // namespace
}  // namespace quantd
