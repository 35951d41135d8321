#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/unit/workers/planner/plan_problems.h"
#include "workers/planner/allocation.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Refusal(const AllocationProblem& problem,
                    absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  const absl::StatusOr<Plan> plan = Allocate(problem);
  EXPECT_EQ(plan.status().code(), code) << plan.status();
  return std::string(plan.status().message());
}

// Two layers of 500 parameters with one candidate of 2.2 bits and one of 4.4.
AllocationProblem Small() {
  AllocationProblem problem;
  problem.candidates = {"two", "four"};
  for (const char* name : {"a", "b"}) {
    problem.layers.push_back(
        {name, 2000, 1, {{0, 550, 0.1, 64}, {1, 1100, 0.01, 64}, {kDense, 4000, 0, 0}}});
  }
  problem.goal.bytes = 2000;
  return problem;
}

// The number that follows `words` in a message.
double NumberAfter(const std::string& message, const std::string& words) {
  const size_t at = message.find(words);
  EXPECT_NE(at, std::string::npos) << message;
  return at == std::string::npos ? 0 : std::strtod(message.c_str() + at + words.size(), nullptr);
}

TEST(AllocationRefusalTest, ABudgetTooSmallNamesTheSmallestThatWorks) {
  AllocationProblem problem = Small();
  problem.goal.bytes = 1000;
  EXPECT_EQ(Refusal(problem, absl::StatusCode::kOutOfRange),
            "the budget of 1000 bytes (2.00 bits a weight) cannot be met: the smallest plan takes "
            "1100 bytes (2.20 bits a weight)");
  problem.goal.bytes = 1099;
  EXPECT_EQ(Allocate(problem).status().code(), absl::StatusCode::kOutOfRange);
  problem.goal.bytes = 1100;
  EXPECT_TRUE(Allocate(problem).ok());
}

TEST(AllocationRefusalTest, AnErrorTooSmallNamesTheLeastThatWorks) {
  std::mt19937 rng(1);
  for (int round = 0; round < 200; ++round) {
    AllocationProblem problem = RandomProblem(20, 4, &rng);
    for (PlanLayer& layer : problem.layers) {
      layer.sensitivity += 0.1;
      std::erase_if(layer.options,
                    [](const LayerOption& option) { return option.candidate == kDense; });
    }
    problem.goal.kind = GoalKind::kError;
    problem.goal.error = 1e-9;
    const double least = NumberAfter(Refusal(problem, absl::StatusCode::kOutOfRange),
                                     "no plan has an error of 1e-09 or less: the least is ");
    problem.goal.error = least;
    EXPECT_TRUE(Allocate(problem).ok()) << least;
    problem.goal.error = least * (1 - 1e-4);
    EXPECT_EQ(Allocate(problem).status().code(), absl::StatusCode::kOutOfRange);
  }
}

TEST(AllocationRefusalTest, AShareTooSmallNamesTheLeastThatWorks) {
  std::mt19937 rng(2);
  for (int round = 0; round < 200; ++round) {
    AllocationProblem problem = FullProblem(7, 2, &rng);
    for (const int l : {1, 4}) problem.layers[l].options.erase(problem.layers[l].options.begin());
    problem.goal.kind = GoalKind::kLowShare;
    const double least = NumberAfter(Refusal(problem, absl::StatusCode::kOutOfRange),
                                     "layers that cannot stay dense make ");
    EXPECT_GT(least, 0);
    problem.goal.low_share = least;
    EXPECT_TRUE(Allocate(problem).ok()) << least;
    problem.goal.low_share = least * (1 - 1e-4);
    EXPECT_EQ(Allocate(problem).status().code(), absl::StatusCode::kOutOfRange);
  }
}

TEST(AllocationRefusalTest, LayersAtOddsAreNamedWithWhatEachHas) {
  AllocationProblem problem = Small();
  problem.candidates = {"X", "Y", "Z"};
  problem.layers[0].options = {{0, 9, 0.1, 8}, {1, 9, 0.1, 8}};
  problem.layers[1].options = {{2, 9, 0.1, 8}};
  problem.same = {{0, 1}};
  EXPECT_EQ(Refusal(problem),
            "layers 'a' and 'b' must agree and have no candidate in common: 'a' has X, Y; 'b' has "
            "Z");
  // Only the two that are at odds.
  problem.layers.push_back({"c", 9, 1, {{0, 9, 0.1, 8}, {2, 9, 0.1, 8}}});
  problem.same = {{2, 0}, {2, 1}};
  EXPECT_THAT(Refusal(problem), HasSubstr("layers 'a' and 'b' must"));
  EXPECT_THAT(Refusal(problem), Not(HasSubstr("'c'")));
  // Any two of these have something in common, all three have not.
  problem.layers[1].options = {{1, 9, 0.1, 8}, {2, 9, 0.1, 8}};
  EXPECT_THAT(Refusal(problem),
              HasSubstr("layers 'a', 'b' and 'c' must agree and have no candidate in common: "
                        "'a' has X, Y; 'b' has Y, Z; 'c' has X, Z"));
}

TEST(AllocationRefusalTest, ManyLayersAtOddsAreNotAllNamed) {
  AllocationProblem problem;
  for (int l = 0; l < 12; ++l) problem.candidates.push_back(absl::StrCat("q", l));
  for (int l = 0; l < 12; ++l) {
    PlanLayer layer = {absl::StrCat("layer", l), 9, 1, {}};
    for (int c = 0; c < 12; ++c) {
      if (c != l) layer.options.push_back({c, 9, 0.1, 8});
    }
    problem.layers.push_back(layer);
  }
  problem.same = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
  EXPECT_THAT(Refusal(problem), HasSubstr("'layer7' and 4 more must agree"));
}

TEST(AllocationRefusalTest, NumbersOutOfRangeAreNamed) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto refusal = [](const std::function<void(AllocationProblem*)>& spoil) {
    AllocationProblem problem = Small();
    EXPECT_TRUE(Allocate(problem).ok());
    spoil(&problem);
    return Refusal(problem);
  };
  using Problem = AllocationProblem;
  EXPECT_THAT(refusal([](Problem* p) { p->layers.clear(); }), HasSubstr("no layers"));
  EXPECT_THAT(refusal([](Problem* p) { p->layers[1].options.clear(); }),
              HasSubstr("layer 'b' has no candidate"));
  EXPECT_THAT(refusal([](Problem* p) { p->layers[1].parameters = 0; }),
              HasSubstr("layer 'b' has 0 parameters"));
  EXPECT_THAT(refusal([](Problem* p) { p->layers[1].sensitivity = -1; }),
              HasSubstr("layer 'b' has a sensitivity of -1"));
  EXPECT_THAT(refusal([&](Problem* p) { p->layers[1].sensitivity = nan; }),
              HasSubstr("sensitivity of nan"));
  EXPECT_THAT(refusal([](Problem* p) { p->layers[0].options[1].candidate = 0; }),
              HasSubstr("layer 'a' has candidate two more than once"));
  EXPECT_THAT(refusal([](Problem* p) { p->layers[0].options[1].candidate = 2; }),
              HasSubstr("layer 'a' has candidate number 2, but there are 2"));
  EXPECT_THAT(refusal([](Problem* p) { p->layers[0].options[1].candidate = -2; }),
              HasSubstr("candidate number -2"));
  EXPECT_THAT(refusal([](Problem* p) { p->layers[0].options[1].error = -0.5; }),
              HasSubstr("layer 'a' has an error of -0.5 with four"));
  EXPECT_THAT(refusal([&](Problem* p) { p->layers[0].options[2].error = nan; }),
              HasSubstr("error of nan with dense"));
  EXPECT_THAT(refusal([](Problem* p) { p->layers[0].options[1].block = 0; }),
              HasSubstr("layer 'a' has 0 weights a scale with four"));
  EXPECT_THAT(refusal([](Problem* p) {
                p->layers[0].options[1].block = std::numeric_limits<int64_t>::max();
              }),
              HasSubstr("layer 'a' has 9223372036854775807 weights a scale with four"));
  EXPECT_THAT(refusal([](Problem* p) { p->layers[0].options[1].bytes = uint64_t{1} << 53; }),
              HasSubstr("layer 'a' takes 9007199254740992 bytes with four"));
  EXPECT_THAT(refusal([](Problem* p) {
                for (PlanLayer& layer : p->layers) layer.parameters = uint64_t{1} << 52;
              }),
              HasSubstr("add up to 2^53 or more"));
  EXPECT_THAT(refusal([](Problem* p) {
                p->same = {{0, 2}};
              }),
              HasSubstr("same[0] names layer 2, but there are 2"));
  EXPECT_THAT(refusal([](Problem* p) {
                p->same = {{0, 1}, {1}};
              }),
              HasSubstr("same[1] holds 1 layers"));
  EXPECT_THAT(refusal([&](Problem* p) {
                p->goal = {GoalKind::kError, 0, nan, 0};
              }),
              HasSubstr("the goal is an error of nan"));
  EXPECT_THAT(refusal([](Problem* p) {
                p->goal = {GoalKind::kLowShare, 0, 0, 1.5};
              }),
              HasSubstr("the goal is a Q_r of 1.5"));
  EXPECT_THAT(refusal([](Problem* p) { p->goal.kind = static_cast<GoalKind>(9); }),
              HasSubstr("the kind of goal is 9"));
}

TEST(AllocationRefusalTest, AFrontierHasTwoPointsOrMore) {
  for (const int count : {-1, 0, 1, 1001}) {
    EXPECT_EQ(ModelFrontier(Small(), count).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(ModelFrontier(Small(), 2).ok());
  AllocationProblem problem = Small();
  problem.layers[0].parameters = 0;
  EXPECT_EQ(ModelFrontier(problem, 2).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quantd
