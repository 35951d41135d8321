#include "workers/solve/rtn.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/reference/rtn_inputs.h"
#include "tests/reference/rtn_reference.h"
#include "workers/fit/fit.h"
#include "workers/levels/affine.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

using reference::RtnInput;

constexpr Symmetry kSymmetries[] = {Symmetry::kAsymmetric, Symmetry::kSymmetricMinMax,
                                    Symmetry::kSymmetricAbsMax, Symmetry::kSymmetricFullRange};

Spec MakeSpec(Symmetry symmetry, int bits, int64_t group) {
  Spec spec;
  spec.levels = {bits, symmetry};
  spec.partition.group_size = group;
  return spec;
}

Coded Rtn(const Spec& spec, const float* w, int64_t rows, int64_t cols) {
  Coded coded;
  coded.Reshape(spec, 0, rows, cols);
  FitRows(spec, w, &coded);
  RoundRows(w, &coded);
  return coded;
}

class RtnTest : public testing::TestWithParam<const RowKernels*> {
 protected:
  void SetUp() override { ASSERT_TRUE(SetRowKernelsForTest(GetParam()->name)); }
  void TearDown() override { SetRowKernelsForTest(""); }
};

INSTANTIATE_TEST_SUITE_P(, RtnTest, testing::ValuesIn(SupportedRowKernels()),
                         [](const auto& info) { return std::string(info.param->name); });

TEST_P(RtnTest, EqualsTheReferenceOnEveryKindOfRow) {
  for (const Symmetry symmetry : kSymmetries) {
    for (int bits = 2; bits <= 8; ++bits) {
      for (const int64_t cols : {1, 16, 77, 160}) {
        for (const RtnInput& input : reference::RtnInputs(2, cols)) {
          for (const int64_t group : {8, 33, 128}) {
            const Spec spec = MakeSpec(symmetry, bits, group);
            const Coded fast = Rtn(spec, input.values.data(), 2, cols);
            const Coded slow = reference::Rtn(spec, input.values.data(), 2, cols);
            ASSERT_EQ(fast.scales, slow.scales) << input.name;
            ASSERT_EQ(fast.zeros, slow.zeros) << input.name;
            ASSERT_EQ(fast.codes, slow.codes) << input.name << " bits " << bits;
          }
        }
      }
    }
  }
}

TEST(RoundRowsTest, GivesTheCompressedTensorsExampleRow) {
  const std::vector<float> w = {0.875f, -1.0f, 0.125f, -0.375f, 0.0f, 0.5f, -0.25f, 0.25f};
  Coded coded;
  coded.Reshape(MakeSpec(Symmetry::kSymmetricMinMax, 4, 8), 0, 1, 8);
  coded.scales = {0.125f};
  coded.zeros = {8};
  RoundRows(w.data(), &coded);
  EXPECT_EQ(coded.codes, (std::vector<uint8_t>{15, 0, 9, 5, 8, 12, 6, 10}));
}

TEST(RoundRowsTest, EquallySpacedLevelsAreExact) {
  for (int bits = 2; bits <= 8; ++bits) {
    const int codes = 1 << bits;
    std::vector<float> w;
    for (int i = 0; i < 3 * codes; ++i)
      w.push_back(0.25f * static_cast<float>(i % codes - codes / 2));
    const int64_t n = static_cast<int64_t>(w.size());
    for (const Symmetry symmetry : {Symmetry::kAsymmetric, Symmetry::kSymmetricFullRange}) {
      const Coded coded = Rtn(MakeSpec(symmetry, bits, n), w.data(), 1, n);
      std::vector<float> decoded(n);
      Dequantize(coded, decoded.data());
      EXPECT_EQ(decoded, w) << bits << " bits";
    }
  }
}

TEST(RoundRowsTest, AllZeroRowsDecodeToZero) {
  for (const Symmetry symmetry : kSymmetries) {
    const std::vector<float> w(2 * 96, 0.0f);
    const Coded coded = Rtn(MakeSpec(symmetry, 4, 32), w.data(), 2, 96);
    std::vector<float> decoded(w.size(), 1.0f);
    Dequantize(coded, decoded.data());
    EXPECT_EQ(decoded, w);
  }
}

// Decoded values are levels already: with the same parameters they keep their codes.
TEST(RoundRowsTest, DecodedValuesKeepTheirCodes) {
  for (const Symmetry symmetry : kSymmetries) {
    for (int bits = 2; bits <= 8; ++bits) {
      const RtnInput input = reference::Gaussian(4, 128, 0.1f, 30 + bits);
      Coded coded = Rtn(MakeSpec(symmetry, bits, 32), input.values.data(), 4, 128);
      const std::vector<uint8_t> codes = coded.codes;
      std::vector<float> decoded(4 * 128);
      Dequantize(coded, decoded.data());
      coded.codes.assign(codes.size(), 0);
      RoundRows(decoded.data(), &coded);
      EXPECT_EQ(coded.codes, codes);
    }
  }
}

TEST(RoundRowsTest, ErrorsStayWithinHalfAStepUnlessClipped) {
  for (const Symmetry symmetry : {Symmetry::kAsymmetric, Symmetry::kSymmetricAbsMax}) {
    Spec spec = MakeSpec(symmetry, 4, 64);
    spec.scale_dtype = DType::kF32;
    const RtnInput input = reference::Gaussian(8, 256, 0.1f, 40);
    const Coded coded = Rtn(spec, input.values.data(), 8, 256);
    std::vector<float> decoded(8 * 256);
    Dequantize(coded, decoded.data());
    for (int64_t i = 0; i < 8 * 256; ++i) {
      const float step = coded.scales[i / 64];
      // The asymmetric zero is rounded too, which can push one end out by half a step.
      const float bound = symmetry == Symmetry::kAsymmetric ? 1.0f : 0.5f;
      ASSERT_LE(std::fabs(decoded[i] - input.values[i]), bound * step * 1.0001f);
    }
  }
}

TEST(RoundRowsTest, HonoursTheGroupOfEachColumn) {
  const RtnInput input = reference::Gaussian(3, 64, 0.5f, 50);
  Coded coded = Rtn(MakeSpec(Symmetry::kAsymmetric, 4, 16), input.values.data(), 3, 64);
  for (int j = 0; j < 64; ++j) coded.group_of_column.push_back((j * 5) % 4);
  RoundRows(input.values.data(), &coded);
  for (int64_t r = 0; r < 3; ++r) {
    for (int64_t j = 0; j < 64; ++j) {
      const int64_t at = r * 4 + (j * 5) % 4;
      const reference::GroupParams p{coded.scales[at], coded.zeros[at], false};
      ASSERT_EQ(coded.codes[r * 64 + j],
                reference::Encode(coded.levels, p, input.values[r * 64 + j]));
    }
  }
}

}  // namespace
}  // namespace quantd
