#include "workers/planner/law_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/workers/planner/refit_law.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Points of a law on a grid of `sizes` x 5 shares x 4 blocks, each off by exp(noise x normal).
std::vector<LawPoint> PointsOf(const ScalingLaw& law, const std::vector<double>& sizes,
                               double noise, std::mt19937* rng) {
  std::normal_distribution<double> normal;
  std::vector<LawPoint> points;
  for (const double n : sizes) {
    for (const double share : {0.5, 0.7, 0.8, 0.9, 0.95}) {
      for (const double block : {16, 32, 128, 512}) {
        points.push_back(
            {n, share, block, LawDelta(law, n, share, block) * std::exp(noise * normal(*rng))});
      }
    }
  }
  return points;
}

// Figures 9b (matmul-wise, block size taken as 16) and 8 of the paper's first version, digitised:
// rises of the perplexity in percent (seed-papers.md part 3.2).
std::vector<LawPoint> DigitisedPoints() {
  struct Row {
    double billions, low_share;  // of figure 8
    std::array<double, 6> rises;
  };
  constexpr std::array<double, 6> kSizes = {0.5, 1.8, 4, 7, 14, 32};
  constexpr std::array<double, 6> kBlocks = {16, 32, 64, 128, 256, 512};
  const std::vector<Row> by_size = {{0, 0.5, {4.7, 2.8, 3.1, 1.7, 1.3, 1.2}},
                                    {0, 0.9, {55.3, 21.9, 18.3, 15.8, 8.4, 4.7}},
                                    {0, 0.95, {67.7, 26.7, 17.5, 14.2, 6.9, 5.2}},
                                    {0, 0.975, {100.6, 27.0, 18.9, 18.6, 8.0, 8.5}},
                                    {0, 0.99, {96.2, 34.7, 26.6, 21.8, 12.0, 9.0}}};
  const std::vector<Row> by_block = {{7, 0.5, {1.1, 1.3, 1.7, 3.5, 4.5, 6.3}},
                                     {7, 0.9, {12.2, 10.2, 22.8, 23.9, 57.7, 125.8}},
                                     {7, 0.95, {26.0, 22.2, 52.1, 56.6, 78.1, 259.6}},
                                     {14, 0.5, {1.9, 1.6, 2.2, 2.1, 2.5, 4.5}},
                                     {14, 0.9, {9.4, 7.7, 12.3, 17.7, 16.1, 34.4}},
                                     {14, 0.95, {9.2, 10.3, 15.5, 23.0, 23.4, 52.5}}};
  std::vector<LawPoint> points;
  for (int i = 0; i < 6; ++i) {
    for (const Row& row : by_size) {
      points.push_back({kSizes[i], row.low_share, 16, DeltaOfRise(row.rises[i] / 100)});
    }
    for (const Row& row : by_block) {
      points.push_back({row.billions, row.low_share, kBlocks[i], DeltaOfRise(row.rises[i] / 100)});
    }
  }
  return points;
}

LawFit Fit(const std::vector<LawPoint>& points, const ScalingLaw* prior = nullptr,
           std::optional<double> d = std::nullopt) {
  const absl::StatusOr<LawFit> fit = FitLaw(points, prior, d);
  EXPECT_TRUE(fit.ok()) << fit.status();
  return fit.ok() ? *fit : LawFit();
}

void ExpectRefusal(const std::vector<LawPoint>& points, const std::string& words,
                   const ScalingLaw* prior = nullptr) {
  const absl::StatusOr<LawFit> fit = FitLaw(points, prior);
  ASSERT_EQ(fit.status().code(), absl::StatusCode::kInvalidArgument) << fit.status();
  EXPECT_THAT(std::string(fit.status().message()), HasSubstr(words));
}

TEST(LawFitTest, PlantedConstantsAreFoundInCleanPoints) {
  std::mt19937 rng(1);
  std::uniform_real_distribution<double> any;
  for (const double d : {0, 8, 16, 32, 64, 128}) {
    for (int round = 0; round < 10; ++round) {
      ScalingLaw law;
      law.c = std::exp(-9 + 6 * any(rng));
      law.a = 1 + 6 * any(rng);
      law.gamma_n = 0.1 + any(rng);
      law.gamma_b = 0.1 + any(rng);
      law.d = d;
      const LawFit fit = Fit(PointsOf(law, {0.5, 7, 32}, 0, &rng));
      EXPECT_NEAR(fit.law.c / law.c, 1, 1e-6);
      EXPECT_NEAR(fit.law.a / law.a, 1, 1e-6);
      EXPECT_NEAR(fit.law.gamma_n / law.gamma_n, 1, 1e-6);
      EXPECT_NEAR(fit.law.gamma_b / law.gamma_b, 1, 1e-6);
      EXPECT_EQ(fit.law.d, d);
      EXPECT_NEAR(fit.r2, 1, 1e-9);
      EXPECT_LT(fit.law.residual, 1e-9);
    }
  }
}

TEST(LawFitTest, NoisyPointsGiveConstantsWithinTheirErrors) {
  std::mt19937 rng(2);
  const ScalingLaw law = RefitLaw();
  int within = 0, compared = 0;
  for (int round = 0; round < 40; ++round) {
    const std::vector<LawPoint> points = PointsOf(law, {0.5, 7, 32}, 0.1, &rng);
    ASSERT_EQ(points.size(), 60u);
    const LawFit fit = Fit(points, nullptr, law.d);
    EXPECT_NEAR(fit.law.a / law.a, 1, 0.05);
    EXPECT_NEAR(Fit(points).law.a / law.a, 1, 0.05);
    EXPECT_NEAR(fit.law.residual, 0.1, 0.04);
    const auto count = [&](double found, double planted, double error) {
      EXPECT_GT(error, 0);
      within += std::abs(found - planted) <= 3 * error ? 1 : 0;
      ++compared;
    };
    count(fit.law.a, law.a, fit.errors.a);
    count(fit.law.gamma_n, law.gamma_n, fit.errors.gamma_n);
    count(fit.law.gamma_b, law.gamma_b, fit.errors.gamma_b);
    count(std::log(fit.law.c), std::log(law.c), fit.errors.ln_c);
  }
  EXPECT_EQ(compared, 160);
  EXPECT_GE(within, 155);
}

TEST(LawFitTest, ErrorsAreTheSpreadOfRepeatedFits) {
  std::mt19937 rng(3);
  double sum = 0, squares = 0, errors = 0;
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds; ++round) {
    const LawFit fit = Fit(PointsOf(RefitLaw(), {0.5, 7, 32}, 0.1, &rng));
    sum += fit.law.a;
    squares += fit.law.a * fit.law.a;
    errors += fit.errors.a;
  }
  const double spread = std::sqrt(squares / kRounds - sum * sum / kRounds / kRounds);
  EXPECT_NEAR(errors / kRounds / spread, 1, 0.2);
}

TEST(LawFitTest, ThePapersFiguresGiveTheConstantsThatWereFittedToThem) {
  const LawFit fit = Fit(DigitisedPoints(), nullptr, 0);
  EXPECT_EQ(fit.points, 66);
  EXPECT_EQ(fit.law.d, 0);
  EXPECT_NEAR(fit.law.c, 0.00103, 0.000005);
  EXPECT_NEAR(fit.law.a, 4.955, 0.0005);
  EXPECT_NEAR(fit.law.gamma_n, 0.512, 0.0005);
  EXPECT_NEAR(fit.law.gamma_b, 0.425, 0.0005);
  EXPECT_NEAR(fit.r2, 0.945, 0.0005);
  EXPECT_NEAR(fit.law.residual, 0.27, 0.005);
  EXPECT_THAT(fit.held, IsEmpty());
}

// 16 to 512 weights a scale hardly tell: no d of the grid gains half a percent over another.
TEST(LawFitTest, ThePapersFiguresDoNotTellDs) {
  const LawFit free = Fit(DigitisedPoints());
  EXPECT_EQ(free.law.d, 32);
  EXPECT_NEAR(free.r2, 0.949, 0.0005);
  for (const double d : {0, 8, 16, 64, 128, 256}) {
    const LawFit held = Fit(DigitisedPoints(), nullptr, d);
    EXPECT_EQ(held.law.d, d);
    EXPECT_LT(held.r2, free.r2);
    EXPECT_NEAR(held.r2, free.r2, 0.005);
    EXPECT_NEAR(held.law.a, free.law.a, 0.05);
    EXPECT_NEAR(held.law.gamma_n, free.law.gamma_n, 0.02);
  }
}

// With two block sizes any d fits as well: the exponent takes up the difference.
TEST(LawFitTest, OfEqualFitsTheSmallestDIsTaken) {
  std::mt19937 rng(7);
  for (int round = 0; round < 20; ++round) {
    std::vector<LawPoint> points = PointsOf(RefitLaw(), {0.5, 7, 32}, 0.1 * (round % 2), &rng);
    std::erase_if(points, [](const LawPoint& point) { return point.block > 32; });
    EXPECT_EQ(Fit(points).law.d, 0) << round;
  }
}

TEST(LawFitTest, TheDomainIsWhatThePointsSpan) {
  const LawDomain domain = Fit(DigitisedPoints()).law.domain;
  EXPECT_EQ(domain.billions.least, 0.5);
  EXPECT_EQ(domain.billions.most, 32);
  EXPECT_EQ(domain.low_share.least, 0.5);
  EXPECT_EQ(domain.low_share.most, 0.99);
  EXPECT_EQ(domain.block.least, 16);
  EXPECT_EQ(domain.block.most, 512);
}

TEST(LawFitTest, AnExponentThatPointsDoNotTellIsHeldAtThePriors) {
  std::mt19937 rng(4);
  ScalingLaw truth = RefitLaw();
  truth.a = 3;
  ScalingLaw prior = RefitLaw();
  const LawFit one_size = Fit(PointsOf(truth, {7}, 0, &rng), &prior);
  EXPECT_THAT(one_size.held, ElementsAre("gamma_n held at 0.512: all points have N = 7"));
  EXPECT_EQ(one_size.law.gamma_n, 0.512);
  EXPECT_EQ(one_size.errors.gamma_n, 0);
  EXPECT_NEAR(one_size.law.a, 3, 1e-9);
  EXPECT_NEAR(one_size.law.c, truth.c, 1e-9);

  // One size and one block: two exponents are held, and d is the prior's.
  prior.d = 5;
  truth.d = 5;
  std::vector<LawPoint> points;
  for (const LawPoint& point : PointsOf(truth, {7}, 0, &rng)) {
    if (point.block == 32) points.push_back(point);
  }
  const LawFit one_block = Fit(points, &prior);
  EXPECT_THAT(one_block.held, ElementsAre(HasSubstr("gamma_n held"),
                                          "gamma_b held at 0.425: all points have Q_b = 32"));
  EXPECT_EQ(one_block.law.d, 5);
  EXPECT_NEAR(one_block.law.a, 3, 1e-9);
  EXPECT_NEAR(one_block.law.c / truth.c, 1, 1e-9);
}

TEST(LawFitTest, OnePointRescalesC) {
  const ScalingLaw prior = RefitLaw();
  const double delta = 1.5 * LawDelta(prior, 14, 0.9, 64);
  const LawFit fit = Fit({{14, 0.9, 64, delta}}, &prior);
  EXPECT_NEAR(fit.law.c, 1.5 * prior.c, 1e-12);
  EXPECT_EQ(fit.law.a, prior.a);
  EXPECT_EQ(fit.law.gamma_n, prior.gamma_n);
  EXPECT_EQ(fit.law.gamma_b, prior.gamma_b);
  EXPECT_EQ(fit.held.size(), 3u);
  EXPECT_EQ(fit.errors.ln_c, 0);
  EXPECT_EQ(fit.law.residual, 0);
  EXPECT_NEAR(LawDelta(fit.law, 14, 0.9, 64), delta, 1e-12);
}

TEST(LawFitTest, RefusesPointsThatCannotBeFitted) {
  std::mt19937 rng(5);
  const ScalingLaw prior = RefitLaw();
  ExpectRefusal({}, "no points");
  ExpectRefusal({}, "no points", &prior);
  ExpectRefusal({{7, 0.9, 16, 0.1}}, "all points have Q_r = 0.9, all points have N = 7, all");
  ExpectRefusal(PointsOf(prior, {7}, 0, &rng), "all points have N = 7");
  std::vector<LawPoint> points = PointsOf(prior, {7, 14}, 0, &rng);
  const auto with = [&](size_t i, const LawPoint& point) {
    std::vector<LawPoint> changed = points;
    changed[i] = point;
    return changed;
  };
  ExpectRefusal(with(2, {7, 0.9, 16, 0}), "point 3 has delta = 0", &prior);
  ExpectRefusal(with(0, {7, 0.9, 16, -0.1}), "point 1 has delta = -0.1", &prior);
  ExpectRefusal(with(1, {0, 0.9, 16, 0.1}), "point 2 has N = 0", &prior);
  ExpectRefusal(with(1, {7, 1.5, 16, 0.1}), "point 2 has Q_r = 1.5", &prior);
  ExpectRefusal(with(1, {7, 0.9, 0.5, 0.1}), "point 2 has Q_b = 0.5", &prior);
  ExpectRefusal(with(1, {7, 0.9, 16, std::numeric_limits<double>::quiet_NaN()}), "delta = nan");
  EXPECT_EQ(FitLaw(points, nullptr, -1).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LawFitTest, RefusesConstantsThatCannotBeToldApart) {
  // The larger a model, the larger its share: ln N follows from Q_r.
  std::vector<LawPoint> points;
  for (const double share : {0.5, 0.6, 0.7, 0.8, 0.9}) {
    points.push_back({std::exp(3 * share), share, share > 0.65 ? 16.0 : 64.0, 0.1 + share});
    points.push_back({std::exp(3 * share), share, 32, 0.1 + share});
  }
  ExpectRefusal(points, "N follows from Q_r in these points");
  ExpectRefusal({{7, 0.9, 16, 0.1}, {14, 0.8, 32, 0.1}, {1, 0.7, 64, 0.2}},
                "3 points cannot tell 4 constants apart");
}

TEST(LawFitTest, RefusesPointsThatContradictTheLaw) {
  ScalingLaw wrong = RefitLaw();
  wrong.gamma_n = -0.5;
  std::mt19937 rng(6);
  ExpectRefusal(PointsOf(wrong, {0.5, 7, 32}, 0, &rng), "the points give gamma_n = -0.5");
  wrong = RefitLaw();
  wrong.a = -2;
  ExpectRefusal(PointsOf(wrong, {0.5, 7, 32}, 0, &rng), "the points give A = -2");
}

}  // namespace
}  // namespace quantd
