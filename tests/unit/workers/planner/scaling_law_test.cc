#include "workers/planner/scaling_law.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/workers/planner/refit_law.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

LawProfile Profile(const std::variant<ScalingLaw, BudgetLine, BlockPower>& law) {
  return {"test", "", "", law};
}

LawProfile Line(double rise, double slope, double intercept) {
  return Profile(BudgetLine{rise, slope, intercept, {{0.5, 32}, {0.5, 0.99}, {}}});
}

LawAnswer Ask(const LawProfile& profile, const LawQuestion& question) {
  const absl::StatusOr<LawAnswer> answer = AskLaw(profile, question);
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? *answer : LawAnswer();
}

void ExpectRefusal(const LawProfile& profile, const LawQuestion& question, const std::string& words,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  const absl::StatusOr<LawAnswer> answer = AskLaw(profile, question);
  ASSERT_EQ(answer.status().code(), code) << answer.status();
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr(words));
}

const double kTenPercent = std::log(1.1);

TEST(ScalingLawTest, DeltaIsThatOfThePublishedVectors) {
  const LawProfile bold = Profile(RefitLaw());
  const auto delta = [&](double n, double share, double block) {
    return Ask(bold, {n, share, block, {}}).delta;
  };
  EXPECT_NEAR(delta(7, 0.9, 16), 0.1068, 0.00005);
  EXPECT_NEAR(100 * RiseOfDelta(delta(7, 0.9, 16)), 11.3, 0.05);
  EXPECT_NEAR(delta(7, 0.9, 32), 0.1434, 0.00005);
  EXPECT_NEAR(delta(7, 0.5, 16), 0.01472, 0.000005);
  EXPECT_NEAR(delta(14, 0.95, 128), 0.2322, 0.00005);
  EXPECT_NEAR(delta(70, 1, 32), 0.0724, 0.00005);
}

TEST(ScalingLawTest, LargestShareIsThatOfThePublishedVectors) {
  const LawProfile bold = Profile(RefitLaw());
  const auto share = [&](double n, double block) {
    return Ask(bold, {n, {}, block, kTenPercent}).low_share;
  };
  EXPECT_NEAR(share(7, 16), 0.8770, 0.00005);
  EXPECT_NEAR(share(7, 32), 0.8175, 0.00005);
  EXPECT_NEAR(share(7, 128), 0.6986, 0.00005);
  EXPECT_NEAR(share(0.5, 16), 0.6043, 0.00005);
  EXPECT_NEAR(share(0.5, 32), 0.5449, 0.00005);
  EXPECT_NEAR(share(0.5, 128), 0.4259, 0.00005);
  EXPECT_EQ(share(32, 16), 1);
  EXPECT_NEAR(share(32, 32), 0.9746, 0.00005);
  EXPECT_NEAR(share(32, 128), 0.8557, 0.00005);
}

TEST(ScalingLawTest, BlockAndSizeAreThoseOfThePublishedVectors) {
  const LawProfile bold = Profile(RefitLaw());
  EXPECT_NEAR(Ask(bold, {7, 0.9, {}, kTenPercent}).block, 12.2, 0.05);
  EXPECT_NEAR(Ask(bold, {14, 0.9, {}, kTenPercent}).block, 28.2, 0.05);
  EXPECT_NEAR(Ask(bold, {32, 0.95, {}, kTenPercent}).block, 42.6, 0.05);
  EXPECT_NEAR(Ask(bold, {{}, 0.9, 16, kTenPercent}).billions, 8.75, 0.005);
}

TEST(ScalingLawTest, TheFirstVersionsLinesAreThoseOfThePublishedVectors) {
  const LawProfile five = Line(0.05, -11.68, 4.83), ten = Line(0.1, -11.27, 3.35),
                   twenty = Line(0.2, -12.84, 1.86);
  const auto share = [](const LawProfile& line, double n) {
    return Ask(line, {n, {}, {}, DeltaOfRise(std::get<BudgetLine>(line.law).rise)}).low_share;
  };
  EXPECT_NEAR(share(five, 7), 0.7531, 0.00005);
  EXPECT_NEAR(share(ten, 7), 0.8754, 0.00005);
  EXPECT_EQ(share(twenty, 7), 1);
  EXPECT_NEAR(share(five, 1.8), 0.6368, 0.00005);
  EXPECT_NEAR(share(ten, 1.8), 0.7549, 0.00005);
  EXPECT_NEAR(share(twenty, 1.8), 0.9009, 0.00005);
  EXPECT_NEAR(share(five, 70), 0.9502, 0.00005);
}

TEST(ScalingLawTest, TheInversesGiveBackWhatTheyWereAskedWith) {
  std::mt19937 rng(1);
  std::uniform_real_distribution<double> any;
  for (int round = 0; round < 1000; ++round) {
    ScalingLaw law;
    law.c = std::exp(6 * any(rng) - 9);
    law.a = 0.5 + 8 * any(rng);
    law.gamma_n = 0.05 + any(rng);
    law.gamma_b = 0.05 + any(rng);
    law.d = 100 * any(rng);
    const double n = std::exp(6 * any(rng) - 1), share = 0.01 + 0.98 * any(rng);
    const double block = std::exp(1 + 6 * any(rng));
    const double delta = LawDelta(law, n, share, block);
    const LawProfile profile = Profile(law);
    EXPECT_NEAR(Ask(profile, {n, {}, block, delta}).low_share, share, 1e-9 * share);
    EXPECT_NEAR(Ask(profile, {n, share, {}, delta}).block, block, 1e-9 * block);
    EXPECT_NEAR(Ask(profile, {{}, share, block, delta}).billions, n, 1e-9 * n);
  }
}

TEST(ScalingLawTest, DeltaRisesWithShareAndBlockAndFallsWithSize) {
  const ScalingLaw law = RefitLaw();
  for (const double n : {0.5, 7.0, 70.0}) {
    for (const double share : {0.1, 0.5, 0.9}) {
      for (const double block : {1.0, 32.0, 512.0}) {
        const double delta = LawDelta(law, n, share, block);
        EXPECT_LT(delta, LawDelta(law, n, share + 0.01, block));
        EXPECT_LT(delta, LawDelta(law, n, share, block + 1));
        EXPECT_GT(delta, LawDelta(law, n + 0.1, share, block));
      }
    }
  }
}

TEST(ScalingLawTest, TheLargestShareIsMonotoneAndStaysWithinZeroAndOne) {
  const ScalingLaw law = RefitLaw();
  double last = -1;
  bool inside = false;
  for (double delta = 1e-6; delta < 10; delta *= 1.1) {
    const double share = LawLowShare(law, 7, 16, delta);
    EXPECT_GE(share, last);
    EXPECT_GE(share, 0);
    EXPECT_LE(share, 1);
    EXPECT_LE(LawLowShare(law, 7, 32, delta), share);
    EXPECT_GE(LawLowShare(law, 8, 16, delta), share);
    inside |= share > 0 && share < 1;
    last = share;
  }
  EXPECT_TRUE(inside);
  EXPECT_EQ(last, 1);
  EXPECT_EQ(LawLowShare(law, 7, 16, 1e-6), 0);
}

TEST(ScalingLawTest, NothingInLowPrecisionCostsNothing) {
  EXPECT_EQ(LawDelta(RefitLaw(), 7, 0, 16), 0);
  EXPECT_EQ(Ask(Profile(RefitLaw()), {7, 0, 16, {}}).delta, 0);
  ExpectRefusal(Profile(RefitLaw()), {7, 0, {}, 0.1}, "any Q_b will do");
  ExpectRefusal(Profile(RefitLaw()), {{}, 0, 16, 0.1}, "any N will do");
}

TEST(ScalingLawTest, TheLikelyRangeIsOneResidualEitherWay) {
  ScalingLaw law = RefitLaw();
  const LawAnswer sharp = Ask(Profile(law), {7, {}, 16, kTenPercent});
  EXPECT_EQ(sharp.likely.least, sharp.low_share);
  EXPECT_EQ(sharp.likely.most, sharp.low_share);
  law.residual = 0.27;
  const LawProfile profile = Profile(law);
  const double off = std::exp(0.27);
  const LawAnswer delta = Ask(profile, {7, 0.9, 16, {}});
  EXPECT_NEAR(delta.likely.least, delta.delta / off, 1e-12);
  EXPECT_NEAR(delta.likely.most, delta.delta * off, 1e-12);
  const LawAnswer share = Ask(profile, {7, {}, 16, kTenPercent});
  EXPECT_NEAR(share.likely.least, share.low_share - 0.27 / law.a, 1e-12);
  EXPECT_NEAR(share.likely.most, share.low_share + 0.27 / law.a, 1e-12);
  const LawAnswer billions = Ask(profile, {{}, 0.9, 16, kTenPercent});
  EXPECT_NEAR(billions.likely.least, LawBillions(law, 0.9, 16, kTenPercent * off), 1e-12);
  EXPECT_NEAR(billions.likely.most, LawBillions(law, 0.9, 16, kTenPercent / off), 1e-12);
  const LawAnswer block = Ask(profile, {7, 0.97, {}, kTenPercent});
  EXPECT_GT(block.block, block.likely.least);
  EXPECT_LT(block.block, block.likely.most);
  EXPECT_GE(block.likely.least, 1);
}

TEST(ScalingLawTest, AWeakLawNeedsNoBlock) {
  ScalingLaw weak = RefitLaw();
  weak.c = 0.0049;
  weak.a = 4.49;
  weak.gamma_n = 0.487;
  weak.gamma_b = 0;
  const LawProfile profile = Profile(weak);
  const double delta = Ask(profile, {7, 0.9, {}, {}}).delta;
  EXPECT_NEAR(delta, 0.0049 * std::exp(4.49 * 0.9) * std::pow(7, -0.487), 1e-12);
  EXPECT_EQ(Ask(profile, {7, 0.9, 4096, {}}).delta, delta);
  EXPECT_NEAR(Ask(profile, {7, {}, {}, delta}).low_share, 0.9, 1e-9);
  EXPECT_THAT(Ask(profile, {7, 0.9, 4096, {}}).warnings, IsEmpty());
  ExpectRefusal(profile, {7, 0.9, {}, 0.1}, "does not know Q_b");
  ExpectRefusal(profile, {7, 0.9, 16, 0.1}, "nothing is asked for");
}

TEST(ScalingLawTest, ALineAnswersForItsOwnRiseOnly) {
  const LawProfile line = Line(0.1, -11.27, 3.35);
  const LawAnswer share = Ask(line, {7, {}, 64, kTenPercent});
  EXPECT_NEAR(Ask(line, {{}, share.low_share, {}, kTenPercent}).billions, 7, 1e-9);
  EXPECT_EQ(share.likely.least, share.low_share);
  EXPECT_EQ(share.likely.most, share.low_share);
  EXPECT_EQ(Ask(line, {1e-9, {}, {}, kTenPercent}).low_share, 0);
  ExpectRefusal(line, {7, {}, {}, std::log(1.2)}, "holds for 0.0953102 only");
  ExpectRefusal(line, {7, 0.9, {}, {}}, "delta is asked for");
  ExpectRefusal(line, {7, 0.9, {}, kTenPercent}, "does not know Q_b");
  ExpectRefusal(line, {{}, {}, 16, kTenPercent}, "N, Q_r are missing");
}

TEST(ScalingLawTest, ABlockPowerAnswersForItsOwnModelOnly) {
  const LawProfile power = Profile(BlockPower{7, 0.9, 1.65, 0.62, {16, 512}});
  const double delta = Ask(power, {{}, {}, 64, {}}).delta;
  EXPECT_NEAR(100 * RiseOfDelta(delta), 1.65 * std::pow(64, 0.62), 1e-9);
  EXPECT_EQ(Ask(power, {7, 0.9, 64, {}}).delta, delta);
  const LawAnswer block = Ask(power, {7, {}, {}, delta});
  EXPECT_NEAR(block.block, 64, 1e-9);
  EXPECT_EQ(block.billions, 7);
  EXPECT_EQ(block.low_share, 0.9);
  EXPECT_THAT(Ask(power, {{}, {}, 8, {}}).warnings, ElementsAre(HasSubstr("Q_b = 8 lies")));
  ExpectRefusal(power, {14, {}, 64, {}}, "N is 14, but this law holds for 7 only");
  ExpectRefusal(power, {{}, 0.5, 64, {}}, "Q_r is 0.5, but this law holds for 0.9 only");
  ExpectRefusal(power, {7, 0.9, {}, {}}, "Q_b, delta are missing");
  ExpectRefusal(power, {7, 0.9, 16, 0.1}, "nothing is asked for");
  ExpectRefusal(power, {{}, {}, {}, 0.001}, "with Q_b = 1 it is 0.016",
                absl::StatusCode::kOutOfRange);
}

TEST(ScalingLawTest, WarnsOutsideOfWhatWasMeasured) {
  const LawProfile bold = Profile(RefitLaw());
  EXPECT_THAT(Ask(bold, {7, 0.9, 16, {}}).warnings, IsEmpty());
  EXPECT_THAT(Ask(bold, {0.5, 0.5, 512, {}}).warnings, IsEmpty());
  EXPECT_THAT(Ask(bold, {70, 0.9, 16, {}}).warnings,
              ElementsAre("N = 70 lies outside of 0.5..32, where the law was measured"));
  EXPECT_THAT(Ask(bold, {7, 0.4, 8, {}}).warnings,
              ElementsAre(HasSubstr("Q_r = 0.4"), HasSubstr("Q_b = 8")));
  // What is asked for counts, too.
  EXPECT_THAT(Ask(bold, {7, 0.9, {}, kTenPercent}).warnings, ElementsAre(HasSubstr("Q_b = 12")));
  EXPECT_THAT(Ask(bold, {0.5, 0.99, 512, {}}).warnings, ElementsAre(HasSubstr("above the 100 %")));
}

TEST(ScalingLawTest, NoBlockOfOneOrMoreIsOutOfRange) {
  ExpectRefusal(Profile(RefitLaw()), {0.5, 0.99, {}, 0.01},
                "no Q_b of 1 or more keeps delta within", absl::StatusCode::kOutOfRange);
  ScalingLaw shallow = RefitLaw();
  shallow.gamma_b = 1e-6;
  ExpectRefusal(Profile(shallow), {7, 0.5, {}, 10}, "no finite Q_b", absl::StatusCode::kOutOfRange);
}

TEST(ScalingLawTest, RefusesWhatIsOutOfRange) {
  const LawProfile bold = Profile(RefitLaw());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  ExpectRefusal(bold, {0, 0.9, 16, {}}, "N is 0 billion");
  ExpectRefusal(bold, {nan, 0.9, 16, {}}, "N is nan");
  ExpectRefusal(bold, {7, 1.01, 16, {}}, "Q_r is 1.01");
  ExpectRefusal(bold, {7, nan, 16, {}}, "Q_r is nan");
  ExpectRefusal(bold, {7, 0.9, 0.5, {}}, "Q_b is 0.5");
  ExpectRefusal(bold, {7, 0.9, {}, 0}, "delta is 0");
  ExpectRefusal(bold, {7, {}, {}, 0.1}, "Q_r, Q_b are missing");
  ExpectRefusal(bold, {7, 0.9, 16, 0.1}, "nothing is asked for");
  ScalingLaw broken = RefitLaw();
  broken.a = -1;
  ExpectRefusal(Profile(broken), {7, 0.9, 16, {}}, "A is -1");
  broken = RefitLaw();
  broken.gamma_n = 0;
  ExpectRefusal(Profile(broken), {7, 0.9, 16, {}}, "gamma_n is 0");
  ExpectRefusal(Line(0.1, 2, 3), {7, {}, {}, kTenPercent}, "slope is 2");
  ExpectRefusal(Profile(BlockPower{7, 0.9, 0, 1, {}}), {{}, {}, 16, {}}, "factor is 0");
}

TEST(ScalingLawTest, AverageBitsCountScalesAndWhatStaysHigh) {
  EXPECT_EQ(AverageBits(1, 4, 8, 16), 4.5);
  EXPECT_EQ(AverageBits(0.5, 4, 8, 32), 0.5 * 4.25 + 8);
  EXPECT_EQ(AverageBits(0, 4, 8, 32, 32), 32);
}

// The answer is a number and its likely end is none.
TEST(ScalingLawTest, LikelyEndsThatNoDoubleHoldsAreRefused) {
  const LawQuestion billions = {std::nullopt, 0.9, 16, 1e-3};
  ScalingLaw law = {0.001, 5, 0.02, 0.4, 0, 0, {}};
  EXPECT_GT(Ask(Profile(law), billions).billions, 0);
  law.residual = 20;
  const absl::StatusCode code = absl::StatusCode::kOutOfRange;
  ExpectRefusal(Profile(law), billions, "likely", code);
  const LawQuestion delta = {1e-300, 0.9, 16, std::nullopt};
  law = {1e5, 5, 1, 0.4, 0, 100, {}};
  ExpectRefusal(Profile(law), delta, "likely", code);
  ExpectRefusal(Line(0.05, -1, 1e3), {std::nullopt, 1.0, std::nullopt, std::log1p(0.05)}, "N = inf",
                code);
}

TEST(ScalingLawTest, AResidualBeyondWhatADoubleHoldsIsRefused) {
  LawProfile profile;
  ScalingLaw law = {0.001, 5, 0.5, 0.4, 0, 1000, {}};
  profile.law = law;
  const absl::StatusOr<LawAnswer> answer = AskLaw(profile, {7, 0.0, 16, std::nullopt});
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(answer.status().message().find("residual is 1000"), std::string::npos);
}

}  // namespace
}  // namespace quantd
