#include "workers/linalg/row_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "workers/core/dtype.h"
#include "workers/core/spec.h"

namespace quantd {
namespace {

constexpr int64_t kSizes[] = {1, 2, 7, 15, 16, 17, 31, 48, 100, 129, 515};

// A row and parameters for groups of `g` columns.
struct Row {
  std::vector<float> w, scale, inverse, zero;
};

Row RandomRow(int64_t n, int64_t g, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> code(0, 15);
  Row row;
  for (int64_t i = 0; i < n; ++i) row.w.push_back(normal(rng));
  for (int64_t k = 0; k < (n + g - 1) / g; ++k) {
    row.scale.push_back(0.05f + 0.3f * std::fabs(normal(rng)));
    row.inverse.push_back(1.0f / row.scale.back());
    row.zero.push_back(static_cast<float>(code(rng)));
  }
  return row;
}

template <typename T>
bool SameBytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Every table against the baseline, which the reference tests of fit/, solve/ and measure/ pin
// down.
class RowKernelsTest : public testing::TestWithParam<const RowKernels*> {
 protected:
  const RowKernels& fast_ = *GetParam();
  const RowKernels& base_ = *SupportedRowKernels().front();
};

INSTANTIATE_TEST_SUITE_P(, RowKernelsTest, testing::ValuesIn(SupportedRowKernels()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST_P(RowKernelsTest, RangesAreThoseOfEachGroupWithZeroInIt) {
  for (const int64_t n : kSizes) {
    for (const int64_t g : {int64_t{1}, int64_t{5}, int64_t{16}, int64_t{32}, n}) {
      const Row row = RandomRow(n, g, 11);
      std::vector<float> lo(row.scale.size()), hi(row.scale.size());
      fast_.ranges(row.w.data(), n, g, lo.data(), hi.data());
      for (size_t k = 0; k < lo.size(); ++k) {
        float low = 0, high = 0;
        for (int64_t i = k * g; i < std::min<int64_t>(n, (k + 1) * g); ++i) {
          low = std::min(low, row.w[i]);
          high = std::max(high, row.w[i]);
        }
        ASSERT_EQ(lo[k], low);
        ASSERT_EQ(hi[k], high);
      }
    }
  }
}

TEST_P(RowKernelsTest, RangesPassOverNans) {
  std::vector<float> w(40, std::nanf(""));
  w[5] = -2.0f;
  w[33] = 3.0f;
  float lo, hi;
  fast_.ranges(w.data(), 40, 40, &lo, &hi);
  EXPECT_EQ(lo, -2.0f);
  EXPECT_EQ(hi, 3.0f);
}

TEST_P(RowKernelsTest, ParamsAreTheSameBytes) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> lo, hi;
  for (const float a : {0.0f, 0x1p-149f, 1e-40f, 1e-7f, 0.3f, 7.0f, 1e5f, 65504.0f, 3e38f, inf}) {
    for (const float b : {0.0f, 0x1p-149f, 3e-39f, 2e-7f, 0.3f, 5.0f, 2e6f, 1e38f, inf}) {
      lo.push_back(-a);
      hi.push_back(b);
    }
  }
  const int64_t n = static_cast<int64_t>(lo.size());
  for (int symmetry = 1; symmetry <= 4; ++symmetry) {
    for (int dtype = 1; dtype <= 3; ++dtype) {
      for (int bits = 2; bits <= 8; ++bits) {
        const ParamRule rule{symmetry, dtype, bits};
        std::vector<float> s0(n), i0(n), z0(n), s1(n), i1(n), z1(n);
        const int64_t first =
            base_.params(rule, lo.data(), hi.data(), n, s0.data(), i0.data(), z0.data());
        EXPECT_EQ(fast_.params(rule, lo.data(), hi.data(), n, s1.data(), i1.data(), z1.data()),
                  first);
        EXPECT_TRUE(SameBytes(s0, s1) && SameBytes(i0, i1) && SameBytes(z0, z1));
        for (int64_t k = 0; k < n; ++k) ASSERT_TRUE(std::isfinite(s1[k]) && s1[k] != 0.0f);
      }
    }
  }
}

TEST_P(RowKernelsTest, CodesDecodedValuesAndCountsAreTheSame) {
  for (const int64_t n : kSizes) {
    for (const int64_t g : {int64_t{3}, int64_t{16}, int64_t{40}, n}) {
      const Row row = RandomRow(n, g, 12);
      std::vector<uint8_t> c0(n), c1(n);
      std::vector<float> d0(n), d1(n);
      base_.round(row.w.data(), n, g, row.inverse.data(), row.zero.data(), 15, c0.data());
      fast_.round(row.w.data(), n, g, row.inverse.data(), row.zero.data(), 15, c1.data());
      ASSERT_EQ(c0, c1);
      base_.decode(c0.data(), n, g, row.scale.data(), row.zero.data(), d0.data());
      fast_.decode(c0.data(), n, g, row.scale.data(), row.zero.data(), d1.data());
      ASSERT_TRUE(SameBytes(d0, d1));
      EXPECT_EQ(base_.count_clipped(row.w.data(), n, g, row.inverse.data(), row.zero.data(), 15),
                fast_.count_clipped(row.w.data(), n, g, row.inverse.data(), row.zero.data(), 15));
    }
  }
}

TEST_P(RowKernelsTest, NonFiniteWeightsGetACodeInRange) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> w(33, std::nanf(""));
  w[1] = inf;
  w[2] = -inf;
  const float inverse = 2.0f, zero = 3.0f;
  std::vector<uint8_t> codes(33);
  fast_.round(w.data(), 33, 33, &inverse, &zero, 15, codes.data());
  EXPECT_EQ(codes[0], 0);
  EXPECT_EQ(codes[1], 15);
  EXPECT_EQ(codes[2], 0);
  EXPECT_EQ(codes[32], 0);
}

TEST_P(RowKernelsTest, ErrorSumsAreTheSameBytes) {
  for (const int64_t n : kSizes) {
    const Row row = RandomRow(n, 8, 13);
    const int64_t k = static_cast<int64_t>(row.scale.size());
    std::vector<float> e0(k), e1(k);
    base_.candidate_errors(row.w.data(), n, row.scale.data(), row.inverse.data(), row.zero.data(),
                           15, k, e0.data());
    fast_.candidate_errors(row.w.data(), n, row.scale.data(), row.inverse.data(), row.zero.data(),
                           15, k, e1.data());
    EXPECT_TRUE(SameBytes(e0, e1));
    std::vector<double> p0(k), p1(k);
    base_.candidate_powers(row.w.data(), n, row.scale.data(), row.inverse.data(), row.zero.data(),
                           15, 2.4, k, p0.data());
    fast_.candidate_powers(row.w.data(), n, row.scale.data(), row.inverse.data(), row.zero.data(),
                           15, 2.4, k, p1.data());
    EXPECT_TRUE(SameBytes(p0, p1));
    const Row other = RandomRow(n, 8, 14);
    PairSums s0, s1;
    base_.pair_sums(row.w.data(), other.w.data(), n, &s0);
    fast_.pair_sums(row.w.data(), other.w.data(), n, &s1);
    EXPECT_EQ(s0.weight, s1.weight);
    EXPECT_EQ(s0.decoded, s1.decoded);
    EXPECT_EQ(s0.cross, s1.cross);
    EXPECT_EQ(s0.error, s1.error);
    EXPECT_EQ(s0.max_error, s1.max_error);
  }
}

// With a scale far above the weights everything decodes to 0 and the error is the weight itself.
TEST_P(RowKernelsTest, PowersAgreeWithLibm) {
  std::mt19937 rng(15);
  std::uniform_real_distribution<float> exponent(-120.0f, 20.0f);
  const float scale = 0x1p100f, inverse = 0x1p-100f, zero = 8.0f;
  for (int i = 0; i < 20000; ++i) {
    const float x = std::exp2(exponent(rng));
    const double norm = 1.0 + (i % 31) * 0.1;
    double error;
    fast_.candidate_powers(&x, 1, &scale, &inverse, &zero, 15, norm, 1, &error);
    const double expected = std::pow(static_cast<double>(x), norm);
    ASSERT_NEAR(error / expected, 1.0, 1e-13) << x << "^" << norm;
  }
  for (const float x : {0.0f, -0.0f}) {
    double error = -1;
    fast_.candidate_powers(&x, 1, &scale, &inverse, &zero, 15, 2.4, 1, &error);
    EXPECT_EQ(error, 0.0);
  }
}

TEST(RowKernelTablesTest, AreChosenByName) {
  EXPECT_STREQ(SupportedRowKernels().front()->name, "baseline");
  for (const RowKernels* table : SupportedRowKernels()) {
    EXPECT_TRUE(SetRowKernelsForTest(table->name));
    EXPECT_EQ(&ActiveRowKernels(), table);
  }
  EXPECT_FALSE(SetRowKernelsForTest("sse9"));
  EXPECT_TRUE(SetRowKernelsForTest(""));
  EXPECT_EQ(&ActiveRowKernels(), SupportedRowKernels().back());
}

}  // namespace
}  // namespace quantd
