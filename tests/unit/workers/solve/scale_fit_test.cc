#include "workers/solve/scale_fit.h"

#include <cmath>
#include <limits>

#include "tests/unit/workers/solve/codebook_fixture.h"

namespace quantd {
namespace {

using ScaleFitTest = CodebookFixture;

INSTANTIATE_TEST_SUITE_P(AllKinds, ScaleFitTest, ::testing::ValuesIn(kCodebookCases),
                         CodebookCaseName);

double Sum(const std::vector<double>& v) {
  double sum = 0;
  for (double x : v) sum += x;
  return sum;
}

TEST_P(ScaleFitTest, NoOutGroupGetsWorseAndTheLossIsTheOneReturned) {
  const CodebookProblemSetup p = Make(GetParam());
  const CodebookUpdate update = Update(p);
  AdditiveCode code = p.code;
  const double loss = *update.FitScales(false, &code, executor_, cancel_);
  EXPECT_NEAR(loss, p.Loss(code), 1e-5 * loss);
  const std::vector<double> before = p.Losses(p.code), after = p.Losses(code);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_LE(after[i], before[i] * (1 + 1e-5)) << i;
  EXPECT_EQ(code.books, p.code.books);
  EXPECT_EQ(code.codes, p.code.codes);
}

TEST_P(ScaleFitTest, ReachesTheLeastLossOfEveryOutGroup) {
  const CodebookProblemSetup p = Make(GetParam());
  AdditiveCode code = p.code;
  const CodebookUpdate update = Update(p);
  const double first = *update.FitScales(false, &code, executor_, cancel_);
  const std::vector<double> least =
      reference::LeastLossesOverScales(p.shape, p.code, p.table_entries, p.w, p.h);
  if (p.shape.scale_columns == 1) {
    const std::vector<double> losses = p.Losses(code);
    for (size_t i = 0; i < least.size(); ++i) {
      EXPECT_NEAR(losses[i], least[i], 1e-5 * least[i] + 1e-9) << i;
    }
    return;
  }
  // A few steps come close, more of them arrive.
  EXPECT_LT(first - Sum(least), 0.02 * (p.Loss(p.code) - Sum(least)));
  double loss = first;
  for (int i = 0; i < 8; ++i) loss = *update.FitScales(false, &code, executor_, cancel_);
  EXPECT_NEAR(loss, Sum(least), 1e-3 * Sum(least));
}

TEST_P(ScaleFitTest, RoundedScalesAreNumbersOfF16) {
  const CodebookProblemSetup p = Make(GetParam(), 2);
  const CodebookUpdate update = Update(p);
  AdditiveCode code = p.code;
  const double loss = *update.FitScales(true, &code, executor_, cancel_);
  EXPECT_NEAR(loss, p.Loss(code), 1e-5 * loss);
  for (float s : code.scales) EXPECT_TRUE(IsF16(s)) << s;
  for (float s : code.scale_tables) EXPECT_TRUE(IsF16(s)) << s;
  AdditiveCode rounded = p.code;
  for (float& s : rounded.scales) s = NearestF16(s);
  const std::vector<double> before = p.Losses(rounded), after = p.Losses(code);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_LE(after[i], before[i] * (1 + 1e-5)) << i;
  // Numbers that are stored already and cannot be bettered stay.
  AdditiveCode again = code;
  EXPECT_LE(*update.FitScales(true, &again, executor_, cancel_), loss * (1 + 1e-5));
}

class OneScaleTest : public CodebookFixture {};
class ScaleTableTest : public CodebookFixture {};

TEST_F(ScaleTableTest, ScalesAreWhatTheTableSays) {
  for (const CodebookCase& c : kCodebookCases) {
    if (c.table_bits <= 0) continue;
    for (CodebookRule rule : {CodebookRule::kConjugateGradients, CodebookRule::kAdam}) {
      CodebookProblemSetup p = Make(c, 3);
      p.spec.solve.update = rule;
      CodebookUpdate update = Update(p);
      AdditiveCode code = p.code;
      const auto check = [&] {
        AdditiveCode copied = code;
        CopyScalesFromTables(p, &copied);
        EXPECT_EQ(copied.scales, code.scales);
        EXPECT_EQ(code.scale_codes, p.code.scale_codes);
      };
      ASSERT_TRUE(update.Begin(&code, executor_, cancel_).ok());
      check();
      ASSERT_TRUE(update.Step(&code, executor_, cancel_).ok());
      check();
      ASSERT_TRUE(update.FitScales(true, &code, executor_, cancel_).ok());
      check();
      EXPECT_NE(code.scales, p.code.scales);
    }
  }
}

TEST_F(OneScaleTest, TheRoundedScaleIsNoWorseThanItsNeighboursInF16) {
  const CodebookProblemSetup p = Make(kCodebookCases[1], 4);
  AdditiveCode code = p.code;
  ASSERT_TRUE(Update(p).FitScales(true, &code, executor_, cancel_).ok());
  const std::vector<double> best = p.Losses(code);
  for (int step : {-1, 1}) {
    AdditiveCode next = code;
    for (float& s : next.scales) s = FromF16(static_cast<uint16_t>(ToF16(s) + step));
    const std::vector<double> losses = p.Losses(next);
    for (size_t i = 0; i < best.size(); ++i) {
      // At half way between two numbers both are as good, but for the products' rounding.
      EXPECT_LE(best[i], losses[i] * (1 + 1e-6)) << i << " " << step;
    }
  }
}

TEST_F(OneScaleTest, AScaleOfZeroComesBack) {
  CodebookProblemSetup p = Make(kCodebookCases[1], 5);
  const std::vector<double> least = reference::LeastLossesOverScales(p.shape, p.code, 0, p.w, p.h);
  std::fill(p.code.scales.begin(), p.code.scales.end(), 0.0f);
  CodebookUpdate update = Update(p);
  AdditiveCode code = p.code;
  EXPECT_NEAR(*update.FitScales(false, &code, executor_, cancel_), Sum(least), 1e-5 * Sum(least));
  EXPECT_NE(code.scales, p.code.scales);
  code = p.code;
  EXPECT_NEAR(*update.Begin(&code, executor_, cancel_), Sum(least), 1e-5 * Sum(least));
  EXPECT_NEAR(p.Loss(code), Sum(least), 1e-5 * Sum(least));
}

TEST_F(OneScaleTest, RowsOfZerosGetAScaleOfZeroAndCodesThatDecodeToZeroKeepTheirs) {
  CodebookProblemSetup p = Make(kCodebookCases[1], 6);
  std::fill_n(p.w.begin(), p.shape.n, 0.0f);
  // Row 1 decodes to zeros, whatever the scale.
  for (int64_t m = 0; m < 2; ++m) {
    std::fill_n(p.code.books.begin() + m * p.shape.entries * p.shape.patch(), p.shape.patch(),
                0.0f);
  }
  std::fill_n(p.code.codes.begin() + p.shape.in_groups() * 2, p.shape.in_groups() * 2, 0);
  AdditiveCode code = p.code;
  ASSERT_TRUE(Update(p).FitScales(false, &code, executor_, cancel_).ok());
  EXPECT_NEAR(code.scales[0], 0.0f, 1e-6f);
  EXPECT_EQ(code.scales[1], p.code.scales[1]);
}

TEST(ScaleParabola, StaysWhereNothingIsGained) {
  ScaleParabola flat;
  flat.at = 0.5;
  flat.loss = 3;
  flat.slope = 1e-9;
  EXPECT_EQ(flat.Best(0.5f, false), 0.5f);
  ScaleParabola bowl = flat;
  bowl.curvature = 2;
  bowl.slope = 0;
  EXPECT_EQ(bowl.Best(0.5f, false), 0.5f);
  bowl.slope = 1;
  EXPECT_EQ(bowl.Best(0.5f, false), 1.0f);
  EXPECT_DOUBLE_EQ(bowl.Loss(1.0), 2.5);
}

TEST(ScaleParabola, ScalesBeyondF16EndAtItsLargestNumber) {
  ScaleParabola bowl;
  bowl.at = 1;
  bowl.curvature = 1;
  bowl.loss = 1e12;
  bowl.slope = 1e6;
  EXPECT_EQ(bowl.Best(1.0f, true), 65504.0f);
  EXPECT_EQ(NearestF16(-1e9f), -65504.0f);
}

TEST(ScaleParabola, NoiseIsNoCurvature) {
  // r H = 0 but for rounding: r.(w H) and r.T are noise around 0 made of large products.
  const float r[] = {1, -1}, error[] = {1, 1}, product[] = {5, 5.000001f}, wh[] = {5, 5};
  EXPECT_EQ(ParabolaOf(0.5, r, error, product, wh, 2).curvature, 0.0);
  const float real[] = {4, 5};
  EXPECT_GT(ParabolaOf(0.5, r, error, real, wh, 2).curvature, 0.0);
}

}  // namespace
}  // namespace quantd
