#include "workers/levels/affine.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/reference/rtn_reference.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

Coded RandomCoded(const Spec& spec, int64_t rows, int64_t cols) {
  Coded coded;
  coded.Reshape(spec, 0, rows, cols);
  std::mt19937 rng(3);
  std::uniform_int_distribution<int> code(0, spec.levels.max_code());
  std::normal_distribution<float> normal;
  for (auto& u : coded.codes) u = static_cast<uint8_t>(code(rng));
  for (auto& z : coded.zeros) z = static_cast<uint8_t>(code(rng));
  for (auto& s : coded.scales) s = normal(rng);
  return coded;
}

TEST(DequantizeTest, GivesTheReferenceValues) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (const int64_t cols : {1, 9, 40, 128, 200}) {
      for (const int64_t group : {4, 32, 128}) {
        Spec spec;
        spec.levels.bits = bits;
        spec.partition.group_size = group;
        const Coded coded = RandomCoded(spec, 5, cols);
        std::vector<float> out(5 * cols);
        Dequantize(coded, out.data());
        EXPECT_EQ(out, reference::Dequantize(coded));
      }
    }
  }
}

TEST(DequantizeTest, HonoursTheGroupOfEachColumn) {
  Spec spec;
  spec.partition.group_size = 16;
  Coded coded = RandomCoded(spec, 3, 64);
  for (int j = 0; j < 64; ++j) coded.group_of_column.push_back((j * 7) % 4);
  std::vector<float> out(3 * 64), row(64);
  Dequantize(coded, out.data());
  EXPECT_EQ(out, reference::Dequantize(coded));
  DequantizeRow(coded, 2, row.data());
  EXPECT_EQ(row, std::vector<float>(out.begin() + 128, out.end()));
}

TEST(DequantizeTest, TheZeroCodeIsExactlyZero) {
  Coded coded;
  coded.Reshape(Spec{}, 0, 1, 128);
  coded.scales = {0.3f};
  coded.zeros = {8};
  coded.codes.assign(128, 8);
  std::vector<float> out(128, 1.0f);
  Dequantize(coded, out.data());
  EXPECT_EQ(out, std::vector<float>(128, 0.0f));
}

TEST(RoundLanesTest, EqualsTheScalarDefinitionLaneByLane) {
  const AffineInt levels{4, Symmetry::kAsymmetric};
  std::mt19937 rng(5);
  std::normal_distribution<float> normal;
  for (const RowKernels* table : SupportedRowKernels()) {
    ASSERT_TRUE(SetRowKernelsForTest(table->name));
    for (const int64_t n : {1, 15, 16, 33, 64}) {
      std::vector<float> w(n), scale(n), inverse(n), zero(n), decoded(n);
      std::vector<uint8_t> codes(n);
      for (int64_t i = 0; i < n; ++i) {
        w[i] = normal(rng);
        scale[i] = (i % 5 == 0 ? -1.0f : 1.0f) * (0.1f + std::fabs(normal(rng)) * 0.1f);
        inverse[i] = 1.0f / scale[i];
        zero[i] = static_cast<float>(i % 16);
      }
      RoundLanes(levels, w.data(), n, scale.data(), inverse.data(), zero.data(), codes.data(),
                 decoded.data());
      for (int64_t i = 0; i < n; ++i) {
        const AffineParams p = MakeAffineParams(scale[i], static_cast<uint8_t>(i % 16));
        ASSERT_EQ(codes[i], EncodeAffine(levels, p, w[i]));
        ASSERT_EQ(decoded[i], DecodeAffine(p, codes[i]));
      }
      const std::vector<float> apart = decoded;
      RoundLanes(levels, w.data(), n, scale.data(), inverse.data(), zero.data(), codes.data(),
                 w.data());
      EXPECT_EQ(w, apart) << "in place";
    }
  }
  SetRowKernelsForTest("");
}

TEST(EncodeAffineTest, RoundsTiesToEvenAndClamps) {
  const AffineInt levels{4, Symmetry::kSymmetricMinMax};
  const AffineParams p = MakeAffineParams(1.0f, 8);
  EXPECT_EQ(EncodeAffine(levels, p, 0.5f), 8);
  EXPECT_EQ(EncodeAffine(levels, p, 1.5f), 10);
  EXPECT_EQ(EncodeAffine(levels, p, -0.5f), 8);
  EXPECT_EQ(EncodeAffine(levels, p, -1.5f), 6);
  EXPECT_EQ(EncodeAffine(levels, p, 1e30f), 15);
  EXPECT_EQ(EncodeAffine(levels, p, -1e30f), 0);
  EXPECT_EQ(EncodeAffine(levels, p, std::nanf("")), 0);
}

}  // namespace
}  // namespace quantd
