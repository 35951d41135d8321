#include "workers/measure/error_accumulator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/reference/rtn_inputs.h"
#include "tests/reference/rtn_reference.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

using reference::RtnInput;

Spec MakeSpec(int64_t group) {
  Spec spec;
  spec.partition.group_size = group;
  return spec;
}

ErrorMeasures MeasureAll(const Coded& coded, const float* w) {
  const std::vector<float> decoded = reference::Dequantize(coded);
  ErrorAccumulator sums;
  sums.AddCoded(coded, w, decoded.data());
  return sums.Finish(coded.rows, coded.cols);
}

void ExpectNear(const ErrorMeasures& a, const ErrorMeasures& b, double tolerance) {
  const auto near = [&](double x, double y) { EXPECT_NEAR(x, y, tolerance * std::fabs(y)); };
  near(a.weight_mse, b.weight_mse);
  near(a.weight_relative_error, b.weight_relative_error);
  near(a.sqnr_db, b.sqnr_db);
  near(a.max_abs_error, b.max_abs_error);
  near(a.cosine, b.cosine);
  EXPECT_EQ(a.clipped_share, b.clipped_share);
}

TEST(ErrorAccumulatorTest, AgreesWithLongDoubleSums) {
  for (const RowKernels* table : SupportedRowKernels()) {
    ASSERT_TRUE(SetRowKernelsForTest(table->name));
    for (const int64_t cols : {1, 13, 100, 512}) {
      const RtnInput input = reference::Gaussian(9, cols, 0.1f, 3);
      const Coded coded = reference::Rtn(MakeSpec(32), input.values.data(), 9, cols);
      SCOPED_TRACE(table->name);
      ExpectNear(MeasureAll(coded, input.values.data()),
                 reference::Measure(coded, input.values.data()), 1e-12);
    }
  }
  SetRowKernelsForTest("");
}

TEST(ErrorAccumulatorTest, HonoursTheGroupOfEachColumn) {
  const RtnInput input = reference::Gaussian(4, 64, 0.1f, 4);
  Coded coded = reference::Rtn(MakeSpec(16), input.values.data(), 4, 64);
  for (int j = 0; j < 64; ++j) coded.group_of_column.push_back(3 - j / 16);
  const ErrorMeasures measures = MeasureAll(coded, input.values.data());
  EXPECT_GT(measures.clipped_share, 0.0) << "the groups' scales are not those of their columns";
  ExpectNear(measures, reference::Measure(coded, input.values.data()), 1e-7);
}

TEST(ErrorAccumulatorTest, AnExactWeightHasNoError) {
  RtnInput input{"levels", 1, 16, {}};
  for (int i = 0; i < 16; ++i) input.values.push_back(static_cast<float>(i - 8));
  Coded coded;
  coded.Reshape(MakeSpec(16), 0, 1, 16);
  coded.scales = {1.0f};
  coded.zeros = {8};
  for (int i = 0; i < 16; ++i) coded.codes[i] = static_cast<uint8_t>(i);
  const ErrorMeasures measures = MeasureAll(coded, input.values.data());
  EXPECT_EQ(measures.weight_mse, 0.0);
  EXPECT_EQ(measures.sqnr_db, kExactSqnrDb);
  EXPECT_EQ(measures.max_abs_error, 0.0);
  EXPECT_DOUBLE_EQ(measures.cosine, 1.0);
  EXPECT_EQ(measures.clipped_share, 0.0);
}

TEST(ErrorAccumulatorTest, ZeroWeightsHaveDefinedMeasures) {
  const std::vector<float> zero(32, 0.0f), one(32, 1.0f);
  ErrorAccumulator both, lost, made;
  both.AddRows(zero.data(), zero.data(), 2, 16);
  EXPECT_EQ(both.Finish(2, 16).cosine, 1.0);
  EXPECT_EQ(both.Finish(2, 16).sqnr_db, 0.0);
  EXPECT_EQ(both.Finish(2, 16).weight_relative_error, 0.0);
  lost.AddRows(one.data(), zero.data(), 2, 16);
  EXPECT_EQ(lost.Finish(2, 16).cosine, 0.0);
  EXPECT_EQ(lost.Finish(2, 16).weight_relative_error, 1.0);
  EXPECT_EQ(lost.Finish(2, 16).sqnr_db, 0.0);
  made.AddRows(zero.data(), one.data(), 2, 16);
  EXPECT_EQ(made.Finish(2, 16).cosine, 0.0);
  EXPECT_EQ(made.Finish(2, 16).weight_mse, 1.0);
}

TEST(ErrorAccumulatorTest, CountsWeightsMoreThanHalfAStepBeyondTheLevels) {
  // Levels -8 .. 7: 7.5 and -8.5 are at half a step, 7.6 and -8.6 beyond.
  const std::vector<float> w = {7.5f, 7.6f, -8.5f, -8.6f, 0.0f, 7.0f, 100.0f, -8.0f};
  Coded coded;
  coded.Reshape(MakeSpec(8), 0, 1, 8);
  coded.scales = {1.0f};
  coded.zeros = {8};
  coded.codes.assign(8, 8);
  EXPECT_EQ(MeasureAll(coded, w.data()).clipped_share, 3.0 / 8.0);
}

TEST(ErrorAccumulatorTest, MergingStripesIsAddingThemInOrder) {
  const RtnInput input = reference::Gaussian(12, 40, 0.1f, 5);
  const Coded coded = reference::Rtn(MakeSpec(40), input.values.data(), 12, 40);
  const std::vector<float> decoded = reference::Dequantize(coded);
  const auto merged = [&] {
    ErrorAccumulator total;
    for (int64_t r = 0; r < 12; r += 5) {
      ErrorAccumulator stripe;
      for (int64_t i = r; i < std::min<int64_t>(12, r + 5); ++i) {
        stripe.AddCodedRow(coded, i, &input.values[i * 40], &decoded[i * 40]);
      }
      total.Merge(stripe);
    }
    return total;
  };
  const ErrorAccumulator a = merged();
  ExpectNear(a.Finish(12, 40), reference::Measure(coded, input.values.data()), 1e-12);
  // The same stripes give the same bits with every table.
  for (const RowKernels* table : SupportedRowKernels()) {
    ASSERT_TRUE(SetRowKernelsForTest(table->name));
    const ErrorAccumulator b = merged();
    EXPECT_EQ(a.error_square(), b.error_square());
    EXPECT_EQ(a.weight_square(), b.weight_square());
    EXPECT_EQ(a.Finish(12, 40).cosine, b.Finish(12, 40).cosine);
  }
  SetRowKernelsForTest("");
}

}  // namespace
}  // namespace quantd
