#include "client/pages/scale.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace quantd::pages {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Labels(const Scale& scale) {
  std::vector<std::string> labels;
  for (const Tick& tick : scale.ticks()) labels.push_back(tick.label);
  return labels;
}

TEST(ScaleTest, LogTicksAreRoundAndGrowCoarserWithTheRange) {
  EXPECT_THAT(Labels(Scale::Log({0.0012, 0.009}, 0, 100, 9)),
              ElementsAre("0.001", "0.002", "0.003", "0.005", "0.007", "0.01"));
  EXPECT_THAT(Labels(Scale::Log({0.0012, 0.09}, 0, 100, 7)),
              ElementsAre("0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1"));
  EXPECT_THAT(Labels(Scale::Log({0.0012, 9}, 0, 100, 5)),
              ElementsAre("0.001", "0.01", "0.1", "1", "10"));
  EXPECT_LE(Labels(Scale::Log({1e-29, 1e29}, 0, 100, 5)).size(), 5);
}

TEST(ScaleTest, EqualDistancesOnALogScaleAreEqualQuotients) {
  const Scale scale = Scale::Log({0.001, 1}, 0, 300, 5);
  EXPECT_NEAR(scale.At(0.1) - scale.At(0.01), scale.At(0.4) - scale.At(0.04), 1e-9);
  EXPECT_LT(scale.At(0.01), scale.At(0.02));
}

TEST(ScaleTest, ZeroHasAPlaceOfItsOwnOnALogScale) {
  const Scale scale = Scale::Log({0, 0.01, 0.1}, 200, 0, 5);
  EXPECT_TRUE(scale.has_zero());
  EXPECT_EQ(scale.ticks().front().label, "0");
  EXPECT_DOUBLE_EQ(scale.At(0), 200);
  EXPECT_LE(scale.At(0.01), scale.start());
  EXPECT_LT(scale.start(), 200);
  EXPECT_FALSE(Scale::Log({0.01, 0.1}, 200, 0, 5).has_zero());
  EXPECT_FALSE(Scale::Log({0.01, 0.1}, 200, 0, 5).Has(0));
}

TEST(ScaleTest, EqualMissingAndWildValuesStillMakeAnAxis) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::nan("");
  for (const std::vector<double>& values :
       {std::vector<double>{}, {1, 1}, {0, 0}, {nan, inf}, {5e-324, 1e308}, {0.02}, {-3, 7}}) {
    for (const Scale& scale : {Scale::Log(values, 10, 90, 5), Scale::Linear(values, 10, 90, 5),
                               Scale::OfBits(values, 10, 90, 5)}) {
      EXPECT_FALSE(scale.ticks().empty());
      for (const double value : {0.0, 1.0, 0.02, -1.0, 1e300, 5e-324, inf, -inf, nan}) {
        EXPECT_GE(scale.At(value), 10);
        EXPECT_LE(scale.At(value), 90);
      }
      for (const Tick& tick : scale.ticks()) {
        EXPECT_TRUE(std::isfinite(tick.value));
        EXPECT_GE(tick.at, 10 - 1e-9);
        EXPECT_LE(tick.at, 90 + 1e-9);
      }
      EXPECT_FALSE(scale.Has(nan));
      EXPECT_FALSE(scale.Has(inf));
    }
  }
}

TEST(ScaleTest, LinearTicksCoverTheValues) {
  const Scale scale = Scale::Linear({0.03, 0.97}, 0, 100, 5);
  EXPECT_THAT(Labels(scale), ElementsAre("0", "0.2", "0.4", "0.6", "0.8", "1"));
  EXPECT_NEAR(scale.At(0.5), 50, 1e-9);
}

TEST(ScaleTest, BitsAreMarkedWhereFormatsAre) {
  EXPECT_THAT(Labels(Scale::OfBits({2.1, 16}, 0, 500, 10)),
              ElementsAre("2", "2.5", "3", "4", "5", "6", "8", "12", "16"));
  EXPECT_THAT(Labels(Scale::OfBits({1, 32}, 0, 500, 5)),
              ElementsAre("1", "2", "4", "8", "16", "32"));
}

}  // namespace
}  // namespace quantd::pages
