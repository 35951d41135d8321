#include "workers/core/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace quantd {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The value of an F16 by its definition.
double F16Value(uint16_t h) {
  const int exponent = (h >> 10) & 31, mantissa = h & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

bool IsNanF16(uint32_t h) { return (h & 0x7C00) == 0x7C00 && (h & 0x3FF) != 0; }

TEST(Float16Test, EveryFiniteF16HasItsValueAndComesBack) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    if ((h & 0x7C00) == 0x7C00) continue;
    const float value = FromF16(static_cast<uint16_t>(h));
    ASSERT_EQ(value, F16Value(static_cast<uint16_t>(h))) << h;
    ASSERT_EQ(std::signbit(value), (h & 0x8000) != 0) << h;
    ASSERT_EQ(ToF16(value), h);
  }
}

TEST(Float16Test, InfinityAndNanStayWhatTheyAre) {
  EXPECT_EQ(FromF16(0x7C00), kInfinity);
  EXPECT_EQ(FromF16(0xFC00), -kInfinity);
  EXPECT_EQ(ToF16(kInfinity), 0x7C00);
  EXPECT_EQ(ToF16(-kInfinity), 0xFC00);
  for (uint32_t h = 0; h < 0x10000; ++h) {
    if (!IsNanF16(h)) continue;
    ASSERT_TRUE(std::isnan(FromF16(static_cast<uint16_t>(h))));
    ASSERT_TRUE(IsNanF16(ToF16(FromF16(static_cast<uint16_t>(h)))));
  }
}

TEST(Float16Test, MidpointsRoundToTheEvenF16) {
  for (uint32_t h = 0; h < 0x7BFF; ++h) {
    const float low = FromF16(static_cast<uint16_t>(h)),
                high = FromF16(static_cast<uint16_t>(h + 1));
    const float middle = low + (high - low) / 2;  // exact: F32 has bits to spare
    const uint32_t even = h % 2 == 0 ? h : h + 1;
    ASSERT_EQ(ToF16(middle), even);
    ASSERT_EQ(ToF16(-middle), even | 0x8000);
    ASSERT_EQ(ToF16(std::nextafter(middle, 0.0f)), h);
    ASSERT_EQ(ToF16(std::nextafter(middle, kInfinity)), h + 1);
  }
}

TEST(Float16Test, F16OverflowsFrom65520) {
  EXPECT_EQ(ToF16(65504.0f), 0x7BFF);
  EXPECT_EQ(ToF16(std::nextafter(65520.0f, 0.0f)), 0x7BFF);
  EXPECT_EQ(ToF16(65520.0f), 0x7C00);
  EXPECT_EQ(ToF16(-1e30f), 0xFC00);
}

TEST(Float16Test, EveryBF16ComesBackAndMidpointsRoundToEven) {
  for (uint32_t h = 0; h < 0x7F80; ++h) {
    const float low = FromBF16(static_cast<uint16_t>(h));
    ASSERT_EQ(ToBF16(low), h);
    ASSERT_EQ(ToBF16(-low), h | 0x8000);
    const float middle = std::bit_cast<float>((h << 16) + 0x8000);
    ASSERT_EQ(ToBF16(middle), h % 2 == 0 ? h : h + 1);
    ASSERT_EQ(ToBF16(std::bit_cast<float>((h << 16) + 0x7FFF)), h);
    ASSERT_EQ(ToBF16(std::bit_cast<float>((h << 16) + 0x8001)), h + 1);
  }
  EXPECT_EQ(ToBF16(kInfinity), 0x7F80);
  // A NaN whose payload lies in the dropped half must not turn into infinity.
  EXPECT_TRUE(std::isnan(FromBF16(ToBF16(std::bit_cast<float>(0x7F800001u)))));
}

TEST(Float16Test, RoundToGivesTheNearestNumberOfTheType) {
  EXPECT_EQ(RoundTo(DType::kF32, 0.1f), 0.1f);
  EXPECT_EQ(RoundTo(DType::kF16, 0.1f), 0x1.998p-4f);
  EXPECT_EQ(RoundTo(DType::kBF16, 0.1f), 0x1.9Ap-4f);
}

TEST(Float16Test, LimitsAreThoseOfTheTypes) {
  EXPECT_EQ(MaxFinite(DType::kF16), FromF16(0x7BFF));
  EXPECT_EQ(MaxFinite(DType::kBF16), FromBF16(0x7F7F));
  EXPECT_EQ(MaxFinite(DType::kF32), std::numeric_limits<float>::max());
  EXPECT_EQ(MinNormal(DType::kF16), FromF16(0x0400));
  EXPECT_EQ(MinNormal(DType::kBF16), FromBF16(0x0080));
  EXPECT_EQ(MinNormal(DType::kF32), std::numeric_limits<float>::min());
}

}  // namespace
}  // namespace quantd
