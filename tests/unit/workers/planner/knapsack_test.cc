#include "workers/planner/knapsack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/reference/knapsack_reference.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Classes = std::vector<std::vector<KnapsackOption>>;

int Below(int count, std::mt19937* rng) { return static_cast<int>((*rng)() % count); }
double Fraction(std::mt19937* rng) { return ((*rng)() >> 8) * 0x1p-24; }

// A kind of small instance, by the values that sizes and costs take.
struct Kind {
  std::string name;
  int sizes = 1;  // whole sizes below it; 0: any fraction
  int costs = 1;  // likewise
};

std::vector<Kind> Kinds() {
  return {{"many ties", 4, 4},    {"equal sizes", 1, 50},    {"zero costs", 20, 1},
          {"whole", 30, 30},      {"whole sizes", 1000, 0},  {"fractions", 0, 0},
          {"whole costs", 0, 10}, {"coarse sizes", 3, 1000}, {"all zero", 1, 1}};
}

double Value(int most, std::mt19937* rng) { return most > 0 ? Below(most, rng) : Fraction(rng); }

Classes Draw(const Kind& kind, std::mt19937* rng) {
  Classes classes(1 + Below(6, rng));
  for (std::vector<KnapsackOption>& of : classes) {
    of.resize(1 + Below(5, rng));
    for (KnapsackOption& option : of) {
      option = {Value(kind.sizes, rng), Value(kind.costs, rng)};
    }
  }
  // Layers that are alike are common, and a class of its own in the search.
  for (size_t c = 1; c < classes.size(); ++c) {
    if (Below(3, rng) == 0) classes[c] = classes[c - 1];
  }
  return classes;
}

double SizeOf(const Classes& classes, const std::vector<int>& choice) {
  double size = 0;
  for (size_t c = 0; c < classes.size(); ++c) size += classes[c][choice[c]].size;
  return size;
}

double CostOf(const Classes& classes, const std::vector<int>& choice) {
  double cost = 0;
  for (size_t c = 0; c < classes.size(); ++c) cost += classes[c][choice[c]].cost;
  return cost;
}

// One that some choice fits exactly, or one in between.
double DrawCapacity(const Classes& classes, std::mt19937* rng) {
  std::vector<int> choice;
  for (const std::vector<KnapsackOption>& of : classes) {
    choice.push_back(Below(static_cast<int>(of.size()), rng));
  }
  return SizeOf(classes, choice) + (Below(2, rng) == 0 ? 0 : Fraction(rng));
}

void ExpectSums(const Classes& classes, const KnapsackSolution& solution) {
  ASSERT_EQ(solution.choice.size(), classes.size());
  EXPECT_EQ(solution.size, SizeOf(classes, solution.choice));
  EXPECT_EQ(solution.cost, CostOf(classes, solution.choice));
}

TEST(KnapsackTest, FindsWhatTryingEveryChoiceFinds) {
  std::mt19937 rng(1);
  for (const Kind& kind : Kinds()) {
    for (int round = 0; round < 400; ++round) {
      const Classes classes = Draw(kind, &rng);
      const double capacity = DrawCapacity(classes, &rng);
      const std::optional<reference::KnapsackBest> best = reference::BestChoice(classes, capacity);
      const absl::StatusOr<KnapsackSolution> solution = SolveKnapsack(classes, capacity);
      ASSERT_TRUE(best && solution.ok()) << kind.name << " " << round;
      ExpectSums(classes, *solution);
      EXPECT_LE(solution->size, capacity) << kind.name << " " << round;
      EXPECT_NEAR(solution->cost, best->cost, 1e-12 * best->cost) << kind.name << " " << round;
      EXPECT_NEAR(solution->size, best->size, 1e-12 * best->size) << kind.name << " " << round;
      EXPECT_EQ(solution->bound, solution->cost) << kind.name << " " << round;
      EXPECT_EQ(solution->gap(), 0) << kind.name << " " << round;
    }
  }
}

// Costs that fall with the size, as errors do with bits, so that much is undominated.
Classes Frontiers(int classes, int options, int most_size, std::mt19937* rng) {
  Classes drawn(classes);
  for (std::vector<KnapsackOption>& of : drawn) {
    const double scale = std::exp(3 * Fraction(rng));
    for (int i = 0; i < options; ++i) {
      const int size = 1 + Below(most_size, rng);
      of.push_back({static_cast<double>(size),
                    scale * (0.7 + Fraction(rng)) * std::exp(-4.0 * size / most_size)});
    }
  }
  return drawn;
}

TEST(KnapsackTest, FindsWhatATableOverAllCapacitiesFinds) {
  std::mt19937 rng(2);
  for (const int most_size : {8, 25, 60}) {
    for (int round = 0; round < 10; ++round) {
      Classes classes = Frontiers(60, 9, most_size, &rng);
      if (round % 2 == 1) std::fill(classes.begin() + 20, classes.begin() + 50, classes[20]);
      for (const double share : {0.2, 0.4, 0.7}) {
        const int capacity = static_cast<int>(share * most_size * 60);
        const absl::StatusOr<KnapsackSolution> solution = SolveKnapsack(classes, capacity);
        const double least = reference::LeastCost(classes, capacity);
        if (std::isinf(least)) {
          EXPECT_EQ(solution.status().code(), absl::StatusCode::kOutOfRange);
          continue;
        }
        ASSERT_TRUE(solution.ok()) << solution.status();
        ExpectSums(classes, *solution);
        EXPECT_LE(solution->size, capacity);
        EXPECT_NEAR(solution->cost, least, 1e-12 * least) << most_size << " " << round;
        EXPECT_EQ(solution->bound, solution->cost);
      }
    }
  }
}

// Every class is the same, which is where the steps of the relaxation tie.
TEST(KnapsackTest, EqualClassesAreSolvedToTheEnd) {
  std::mt19937 rng(3);
  for (int round = 0; round < 20; ++round) {
    const Classes classes(80, Frontiers(1, 8, 40, &rng)[0]);
    for (const int capacity : {1601, 2000, 2477}) {
      const absl::StatusOr<KnapsackSolution> solution = SolveKnapsack(classes, capacity);
      if (!solution.ok()) continue;
      const double least = reference::LeastCost(classes, capacity);
      EXPECT_NEAR(solution->cost, least, 1e-12 * least) << round;
      EXPECT_EQ(solution->gap(), 0) << round;
    }
  }
}

// On a line of equal cost a unit every choice that fills the capacity is as good.
TEST(KnapsackTest, CostsThatAreALineOfTheSizesAreAMatterOfFilling) {
  std::mt19937 rng(4);
  Classes classes(40);
  for (std::vector<KnapsackOption>& of : classes) {
    for (int i = 0; i < 6; ++i) {
      const int size = 2 * Below(500, &rng);
      of.push_back({static_cast<double>(size), 1000.0 - size});
    }
  }
  const absl::StatusOr<KnapsackSolution> solution = SolveKnapsack(classes, 15001);
  ASSERT_TRUE(solution.ok()) << solution.status();
  EXPECT_EQ(solution->size, 15000);
  EXPECT_EQ(solution->cost, 40 * 1000 - 15000);
  EXPECT_EQ(solution->gap(), 0);
}

TEST(KnapsackTest, OfEqualCostsTheSmallerSizeWins) {
  const Classes classes = {{{5, 1}, {3, 1}, {1, 4}}, {{7, 2}, {6, 2}, {2, 2.5}}};
  const absl::StatusOr<KnapsackSolution> roomy = SolveKnapsack(classes, 100);
  ASSERT_TRUE(roomy.ok());
  EXPECT_THAT(roomy->choice, ElementsAre(1, 1));
  const absl::StatusOr<KnapsackSolution> tight = SolveKnapsack(classes, 8);
  ASSERT_TRUE(tight.ok());
  EXPECT_THAT(tight->choice, ElementsAre(1, 2));
}

TEST(KnapsackTest, RoomForTheLeastCostsNeedsNoSearch) {
  std::mt19937 rng(5);
  const Classes classes = Frontiers(50, 6, 30, &rng);
  double size = 0, cost = 0;
  for (const std::vector<KnapsackOption>& of : classes) {
    const auto least = std::min_element(
        of.begin(), of.end(), [](const KnapsackOption& a, const KnapsackOption& b) {
          return a.cost != b.cost ? a.cost < b.cost : a.size < b.size;
        });
    size += least->size;
    cost += least->cost;
  }
  const absl::StatusOr<KnapsackSolution> solution =
      SolveKnapsack(classes, size, KnapsackLimits{.max_states = 0});
  ASSERT_TRUE(solution.ok());
  EXPECT_EQ(solution->cost, cost);
  EXPECT_EQ(solution->gap(), 0);
}

TEST(KnapsackTest, NoClassesCostNothing) {
  const absl::StatusOr<KnapsackSolution> solution = SolveKnapsack({}, 0);
  ASSERT_TRUE(solution.ok());
  EXPECT_EQ(solution->cost, 0);
  EXPECT_EQ(solution->gap(), 0);
}

TEST(KnapsackTest, TheSameInputGivesTheSameChoice) {
  std::mt19937 rng(6);
  const Classes classes = Frontiers(200, 10, 1000, &rng);
  const absl::StatusOr<KnapsackSolution> once = SolveKnapsack(classes, 70000);
  const absl::StatusOr<KnapsackSolution> again = SolveKnapsack(classes, 70000);
  ASSERT_TRUE(once.ok() && again.ok());
  EXPECT_EQ(once->choice, again->choice);
}

// Stopped early, a solution is still one, and its bound still a bound.
TEST(KnapsackTest, AGapIsReportedWhenStatesRunOut) {
  std::mt19937 rng(7);
  int unfinished = 0;
  for (int round = 0; round < 30; ++round) {
    const Classes classes = Frontiers(40, 9, 499, &rng);
    const int capacity = 40 * 200;
    const double least = reference::LeastCost(classes, capacity);
    double last_gap = 1;
    for (const uint64_t states : {uint64_t{0}, uint64_t{40}, uint64_t{400}, uint64_t{1} << 20}) {
      const absl::StatusOr<KnapsackSolution> solution =
          SolveKnapsack(classes, capacity, KnapsackLimits{.max_states = states});
      ASSERT_TRUE(solution.ok());
      ExpectSums(classes, *solution);
      EXPECT_LE(solution->size, capacity);
      EXPECT_GE(solution->cost, least * (1 - 1e-12));
      EXPECT_LE(solution->bound, least * (1 + 1e-12));
      EXPECT_LE(solution->gap(), last_gap);
      unfinished += solution->gap() > 0 ? 1 : 0;
      last_gap = solution->gap();
    }
    EXPECT_EQ(last_gap, 0);
  }
  EXPECT_GT(unfinished, 15);
}

// What makes thousands of layers a matter of milliseconds: only few of them are in question.
TEST(KnapsackTest, ManyClassesNeedFewStates) {
  std::mt19937 rng(9);
  for (const int classes : {100, 1000, 3000}) {
    const Classes drawn = Frontiers(classes, 12, 1000000, &rng);
    for (const double share : {0.2, 0.4, 0.6}) {
      const absl::StatusOr<KnapsackSolution> solution = SolveKnapsack(
          drawn, std::floor(share * 1e6 * classes), KnapsackLimits{.max_states = 20000});
      ASSERT_TRUE(solution.ok());
      EXPECT_EQ(solution->gap(), 0) << classes << " " << share;
    }
  }
}

TEST(KnapsackTest, HugeSizesAddUpExactly) {
  // The second class's steps tell apart only in the last digit of the sum.
  const double huge = 0x1p52;
  const Classes classes = {{{huge, 1}}, {{1, 3}, {2, 2}, {3, 1}}};
  const absl::StatusOr<KnapsackSolution> solution = SolveKnapsack(classes, huge + 2);
  ASSERT_TRUE(solution.ok());
  EXPECT_THAT(solution->choice, ElementsAre(0, 1));
  EXPECT_EQ(solution->size, huge + 2);
}

double AnyMagnitude(std::mt19937* rng) {
  return std::ldexp(Fraction(rng), Below(2000, rng) - 1000);
}

TEST(KnapsackTest, NumbersOfAnyMagnitudeKeepTheBoundValid) {
  std::mt19937 rng(8);
  for (int round = 0; round < 1000; ++round) {
    const bool whole = round % 2 == 0;
    Classes classes(1 + Below(4, &rng));
    for (std::vector<KnapsackOption>& of : classes) {
      of.resize(1 + Below(4, &rng));
      for (KnapsackOption& option : of) {
        option = {whole ? Below(100, &rng) : AnyMagnitude(&rng), AnyMagnitude(&rng)};
      }
    }
    // Not on the very size of a choice: which sums of fractions fit then depends on their order.
    const double capacity = DrawCapacity(classes, &rng) * 1.001;
    const absl::StatusOr<KnapsackSolution> solution = SolveKnapsack(classes, capacity);
    ASSERT_TRUE(solution.ok()) << solution.status();
    EXPECT_LE(solution->size, capacity) << round;
    const double least = reference::BestChoice(classes, capacity)->cost;
    EXPECT_LE(solution->bound, least * (1 + 1e-9)) << round;
  }
}

void ExpectRefusal(const absl::StatusOr<KnapsackSolution>& solution, absl::StatusCode code,
                   const std::string& words) {
  ASSERT_EQ(solution.status().code(), code) << solution.status();
  EXPECT_THAT(std::string(solution.status().message()), HasSubstr(words));
}

TEST(KnapsackTest, RefusesWhatIsNoInstance) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const absl::StatusCode invalid = absl::StatusCode::kInvalidArgument;
  ExpectRefusal(SolveKnapsack(Classes{{{1, 1}}, {}}, 9), invalid, "class 1 has no options");
  ExpectRefusal(SolveKnapsack(Classes{{{-1, 1}}}, 9), invalid, "class 0 has an option of size -1");
  ExpectRefusal(SolveKnapsack(Classes{{{1, -2}}}, 9), invalid, "cost -2");
  ExpectRefusal(SolveKnapsack(Classes{{{infinity, 1}}}, 9), invalid, "size inf");
  ExpectRefusal(SolveKnapsack(Classes{{{1, nan}}}, 9), invalid, "cost nan");
  ExpectRefusal(SolveKnapsack(Classes{{{1, 1}}}, nan), invalid, "capacity is nan");
  ExpectRefusal(SolveKnapsack(Classes{{{1, 1}}}, -1), invalid, "capacity is -1");
  ExpectRefusal(SolveKnapsack(Classes{{{1e308, 1}}, {{1e308, 1}}}, 9), invalid, "add up to more");
  ExpectRefusal(SolveKnapsack(Classes{{{4, 1}, {6, 0}}, {{5, 1}}}, 8.5),
                absl::StatusCode::kOutOfRange, "take 9, more than the capacity of 8.5");
}

}  // namespace
}  // namespace quantd
