#include "workers/fit/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace quantd {
namespace {

TEST(SplitMix64Test, KnownNumbers) {
  // Vigna's splitmix64.c for the seed 1234567.
  SplitMix64 random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
  EXPECT_EQ(random.Next(), 9817491932198370423u);
  EXPECT_EQ(random.Next(), 4593380528125082431u);
  EXPECT_EQ(random.Next(), 16408922859458223821u);
}

TEST(SplitMix64Test, BelowIsUniform) {
  SplitMix64 random(1);
  constexpr int kDraws = 70000;
  std::vector<int> count(7, 0);
  for (int i = 0; i < kDraws; ++i) ++count[random.Below(7)];
  for (const int c : count) EXPECT_NEAR(c, kDraws / 7, 5 * std::sqrt(kDraws / 7));
  // A bound beyond 2^63 draws again for almost half of the numbers.
  const uint64_t large = (uint64_t{1} << 63) + 1;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LT(random.Below(large), large);
    EXPECT_EQ(random.Below(1), 0u);
  }
}

TEST(SplitMix64Test, UnitIsUniform) {
  SplitMix64 random(2);
  double sum = 0, least = 1, most = 0;
  for (int i = 0; i < 10000; ++i) {
    const double unit = random.Unit();
    sum += unit;
    least = std::min(least, unit);
    most = std::max(most, unit);
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.015);
  EXPECT_GE(least, 0.0);
  EXPECT_LT(least, 0.002);
  EXPECT_LT(most, 1.0);
  EXPECT_GT(most, 0.998);
}

TEST(SampleInOrderTest, HasTheNumberAskedForInOrder) {
  const CancelToken cancel;
  for (const int64_t take : {0, 1, 7, 99, 100}) {
    const std::vector<int64_t> sample = SampleInOrder(100, take, 3, cancel);
    ASSERT_EQ(static_cast<int64_t>(sample.size()), take);
    for (size_t i = 1; i < sample.size(); ++i) EXPECT_LT(sample[i - 1], sample[i]);
    if (take > 0) {
      EXPECT_GE(sample.front(), 0);
      EXPECT_LT(sample.back(), 100);
    }
  }
}

TEST(SampleInOrderTest, EveryNumberIsAsLikely) {
  const CancelToken cancel;
  constexpr int kSamples = 4000;
  std::vector<int> count(20, 0);
  for (int s = 0; s < kSamples; ++s) {
    for (const int64_t i : SampleInOrder(20, 5, s, cancel)) ++count[i];
  }
  for (const int c : count) EXPECT_NEAR(c, kSamples / 4, 5 * std::sqrt(kSamples * 3 / 16.0));
}

TEST(SampleInOrderTest, ACancelledOneEnds) {
  CancelToken cancel;
  cancel.Cancel();
  EXPECT_LT(SampleInOrder(1 << 20, 1 << 19, 3, cancel).size(), size_t{1} << 19);
}

}  // namespace
}  // namespace quantd
