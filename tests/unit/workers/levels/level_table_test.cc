#include "workers/levels/level_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/reference/levels_reference.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

Levels Table(FixedTable table) { return {.kind = LevelKind::kFixedTable, .table = table}; }
Levels Minifloat(NumberFormat format) { return {.kind = LevelKind::kMinifloat, .format = format}; }

std::vector<Levels> ScaledKinds() {
  std::vector<Levels> all = {Table(FixedTable::kNf4), Table(FixedTable::kFp4)};
  for (const auto& shape : reference::kMinifloats) all.push_back(Minifloat(shape.format));
  return all;
}

std::vector<uint8_t> CodesOf(const Levels& levels, const std::vector<float>& w, float scale) {
  std::vector<float> scales(w.size(), scale), inverses(w.size(), 1.0f / scale), decoded(w.size());
  std::vector<uint8_t> codes(w.size());
  RoundTableLanes(TableOf(levels), w.data(), w.size(), scales.data(), inverses.data(), codes.data(),
                  decoded.data());
  return codes;
}

// Two codes in a byte; `high_first`: bitsandbytes' order, else compressed-tensors'.
std::vector<uint8_t> Nibbles(const std::vector<uint8_t>& codes, bool high_first) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < codes.size(); i += 2) {
    const uint8_t a = codes[i], b = codes[i + 1];
    bytes.push_back(static_cast<uint8_t>(high_first ? a << 4 | b : b << 4 | a));
  }
  return bytes;
}

TEST(LevelTableTest, BitsandbytesKnownAnswers) {
  const std::vector<float> w = {2.0f, -2.0f, 1.0f, -1.0f, 0.5f, -0.5f, 0.1f, 0.0f, 0.0f, 0.0f};
  EXPECT_EQ(Nibbles(CodesOf(Table(FixedTable::kNf4), w, 2.0f), true),
            (std::vector<uint8_t>{0xF0, 0xC2, 0xA4, 0x87, 0x77}));
  EXPECT_EQ(Nibbles(CodesOf(Table(FixedTable::kFp4), w, 2.0f), true),
            (std::vector<uint8_t>{0x3B, 0x5D, 0x7F, 0x10, 0x00}));
}

TEST(LevelTableTest, Nvfp4KnownAnswers) {
  const Levels e2m1 = Minifloat(NumberFormat::kE2M1);
  EXPECT_EQ(
      Nibbles(
          CodesOf(e2m1, {0, .5f, -.5f, 1, -1, 1.5f, -1.5f, 2, -2, 3, -3, 4, -4, 6, -6, .25f}, 1.0f),
          false),
      (std::vector<uint8_t>{0x10, 0x29, 0x3A, 0x4B, 0x5C, 0x6D, 0x7E, 0x0F}));
  EXPECT_EQ(Nibbles(CodesOf(e2m1,
                            {.1f, -.2f, .3f, -.4f, .5f, -.6f, .7f, -.8f, .9f, -1, .05f, .02f, -.33f,
                             .61f, 0, -.07f},
                            448.0f / 2688.0f),
                    false),
            (std::vector<uint8_t>{0xA1, 0xC4, 0xE5, 0xE6, 0xF7, 0x01, 0x6C, 0x90}));
}

TEST(LevelTableTest, Fp8KnownAnswer) {
  EXPECT_EQ(CodesOf(Minifloat(NumberFormat::kE4M3), {7.0f, -3.5f, 0.1f, 0.0f}, 0x1p-6f),
            (std::vector<uint8_t>{0x7E, 0xF6, 0x4D, 0x00}));
}

TEST(LevelTableTest, Fp4ThresholdsBelongToTheSmallerMagnitude) {
  const LevelTable& fp4 = TableOf(Table(FixedTable::kFp4));
  const float thresholds[] = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f,
                              0.4166667f,  0.583333f,  0.8333333f};
  const uint8_t above[] = {1, 6, 7, 4, 5, 2, 3};
  uint8_t below = 0;
  for (int i = 0; i < 7; ++i) {
    const float t = thresholds[i], next = std::nextafter(t, 1.0f);
    EXPECT_EQ(NearestCode(fp4, t), below);
    EXPECT_EQ(NearestCode(fp4, next), above[i]);
    EXPECT_EQ(NearestCode(fp4, -t), below == 0 ? 0 : below | 8);
    EXPECT_EQ(NearestCode(fp4, -next), above[i] | 8);
    below = above[i];
  }
}

TEST(LevelTableTest, Nf4CountsMidpointsStrictlyBelow) {
  const LevelTable& nf4 = TableOf(Table(FixedTable::kNf4));
  for (int i = 0; i < 15; ++i) {
    const float middle = (nf4.level[i] + nf4.level[i + 1]) / 2;
    EXPECT_EQ(NearestCode(nf4, middle), i);
    EXPECT_EQ(NearestCode(nf4, std::nextafter(middle, 2.0f)), i + 1);
  }
  EXPECT_EQ(nf4.largest, 1.0f);
}

TEST(LevelTableTest, LevelsAscendAndMatchTheirCodes) {
  std::vector<Levels> all = ScaledKinds();
  all.push_back({.kind = LevelKind::kCluster});
  const int counts[] = {16, 15, 15, 253, 247, 63, 63, 7};
  for (size_t k = 0; k < all.size(); ++k) {
    const LevelTable& table = TableOf(all[k]);
    EXPECT_EQ(table.count, counts[k]);
    EXPECT_EQ(table.bits, all[k].fixed_bits());
    for (int i = 0; i < table.count; ++i) {
      EXPECT_EQ(table.level[i], table.value[table.code[i]]);
      EXPECT_EQ(table.level[i], reference::ScaledLevel(all[k], table.code[i]));
      EXPECT_LE(std::fabs(table.level[i]), table.largest);
      if (i > 0) {
        EXPECT_LT(table.level[i - 1], table.level[i]);
        EXPECT_LE(table.level[i - 1], table.bound[i - 1]);
        EXPECT_LT(table.bound[i - 1], table.level[i]);
      }
    }
    for (int u = 0; u < 256; ++u) {
      const float a = table.value[u], b = table.value[u % (1 << table.bits)];
      EXPECT_TRUE(a == b || (std::isnan(a) && std::isnan(b)));
    }
  }
}

// The bounds say the same as the arithmetic, zeros aside.
TEST(LevelTableTest, MinifloatBoundsAgreeWithRounding) {
  for (const auto& shape : reference::kMinifloats) {
    const LevelTable& table = TableOf(Minifloat(shape.format));
    for (int i = 0; i + 1 < table.count; ++i) {
      const float bound = table.bound[i];
      EXPECT_EQ(table.value[NearestCode(table, bound)], table.level[i]);
      EXPECT_EQ(table.value[NearestCode(table, std::nextafter(bound, 1e9f))], table.level[i + 1]);
    }
  }
}

TEST(RoundTableLanesTest, EqualsTheScalarDefinitionLaneByLane) {
  std::mt19937 rng(6);
  std::normal_distribution<float> normal;
  for (const Levels& levels : ScaledKinds()) {
    const LevelTable& table = TableOf(levels);
    for (const RowKernels* kernels : SupportedRowKernels()) {
      ASSERT_TRUE(SetRowKernelsForTest(kernels->name));
      for (const int64_t n : {1, 15, 16, 33, 400}) {
        std::vector<float> w(n), scale(n), inverse(n), decoded(n);
        std::vector<uint8_t> codes(n);
        for (int64_t i = 0; i < n; ++i) {
          scale[i] = 0.01f + std::fabs(normal(rng));
          inverse[i] = 1.0f / scale[i];
          w[i] = normal(rng) * scale[i] * table.largest;
          // On a bound, if the product is exact.
          if (i % 7 == 3) {
            scale[i] = inverse[i] = 1.0f;
            w[i] = table.bound[rng() % (table.count - 1)];
          }
        }
        if (n > 20) w[17] = std::nanf(""), w[18] = -0.0f, w[19] = 1e38f;
        RoundTableLanes(table, w.data(), n, scale.data(), inverse.data(), codes.data(),
                        decoded.data());
        for (int64_t i = 0; i < n; ++i) {
          ASSERT_EQ(codes[i], NearestCode(table, w[i] * inverse[i])) << w[i] * inverse[i];
          const float expected = table.value[codes[i]] * scale[i];
          ASSERT_EQ(std::memcmp(&decoded[i], &expected, sizeof(float)), 0);
        }
        const std::vector<float> apart = decoded;
        RoundTableLanes(table, w.data(), n, scale.data(), inverse.data(), codes.data(), w.data());
        EXPECT_EQ(w, apart) << "in place";
      }
    }
    SetRowKernelsForTest("");
  }
}

}  // namespace
}  // namespace quantd
