#include "workers/measure/error_accumulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/reference/levels_reference.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

std::vector<float> Gaussian(int64_t count, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> w(count);
  for (float& x : w) x = normal(rng);
  return w;
}

Spec MakeSpec(int64_t group) {
  Spec spec;
  spec.partition.group_size = group;
  return spec;
}

bool BesideTheCode(const Coded& c, int64_t row, int64_t column) {
  if (row >= c.rows - static_cast<int64_t>(c.recent.size()) / c.cols) return true;
  if (c.shared != nullptr && reference::IsOneOf(c.shared->kept_columns, column)) return true;
  if (c.outliers.begin.empty()) return false;
  for (int k = c.outliers.begin[row]; k < c.outliers.begin[row + 1]; ++k) {
    if (c.outliers.column[k] == column) return true;
  }
  return false;
}

double ClippedShare(const Coded& c, const std::vector<float>& w) {
  if (!c.levels.affine()) return 0;
  double clipped = 0;
  for (int64_t i = 0; i < c.rows * c.cols; ++i) {
    const int64_t at = c.ParamOf(i / c.cols, i % c.cols);
    const float zero = c.levels.real_zero() ? c.real_zeros[at] : static_cast<float>(c.zeros[at]);
    const float x = w[i] * (1.0f / c.scales[at]);
    const bool out =
        x < -zero - 0.5f || x > (static_cast<float>(c.levels.max_code()) - zero) + 0.5f;
    clipped += out && !BesideTheCode(c, i / c.cols, i % c.cols);
  }
  return clipped / static_cast<double>(c.rows * c.cols);
}

// All measures in long double.
ErrorMeasures Expected(const Coded& c, const std::vector<float>& w) {
  const std::vector<float> decoded = reference::DecodeAll(c);
  long double weight = 0, square = 0, cross = 0, error = 0, largest = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const long double a = w[i], b = decoded[i], d = w[i] - decoded[i];
    weight += a * a, square += b * b, cross += a * b, error += d * d;
    largest = std::max(largest, std::fabs(d));
  }
  ErrorMeasures m;
  m.weight_mse = static_cast<double>(error / static_cast<long double>(w.size()));
  m.weight_relative_error = static_cast<double>(error / weight);
  m.sqnr_db = static_cast<double>(10 * std::log10(weight / error));
  m.max_abs_error = static_cast<double>(largest);
  m.cosine = static_cast<double>(cross / std::sqrt(weight * square));
  m.clipped_share = ClippedShare(c, w);
  return m;
}

ErrorAccumulator SumsOf(const Coded& coded, const std::vector<float>& w) {
  const std::vector<float> decoded = reference::DecodeAll(coded);
  ErrorAccumulator sums;
  for (int64_t r = 0; r < coded.rows; ++r) {
    sums.AddCodedRow(coded, r, &w[r * coded.cols], &decoded[r * coded.cols]);
  }
  return sums;
}

ErrorMeasures MeasureAll(const Coded& coded, const std::vector<float>& w) {
  return SumsOf(coded, w).Finish(coded.rows, coded.cols);
}

void ExpectNear(const ErrorMeasures& a, const ErrorMeasures& b) {
  const auto near = [&](double x, double y) { EXPECT_NEAR(x, y, 1e-12 * std::fabs(y) + 1e-15); };
  near(a.weight_mse, b.weight_mse);
  near(a.weight_relative_error, b.weight_relative_error);
  near(a.sqnr_db, b.sqnr_db);
  near(a.max_abs_error, b.max_abs_error);
  near(a.cosine, b.cosine);
  EXPECT_DOUBLE_EQ(a.clipped_share, b.clipped_share);
}

// Codes of the first levels only: 1 x 16 integers -8 .. 7 with scale 1.
Coded UnitSteps(int64_t cols) {
  Coded coded = reference::RandomCoded(MakeSpec(cols), 1, cols, nullptr, 1);
  coded.scales = {1.0f};
  coded.zeros = {8};
  coded.codes.assign(cols, 8);
  return coded;
}

TEST(ErrorAccumulatorTest, AgreesWithLongDoubleSumsForEveryPartitionAndZero) {
  const Partition partitions[] = {
      {.granularity = Granularity::kTensor},
      {.granularity = Granularity::kRow},
      {.granularity = Granularity::kColumn},
      {.granularity = Granularity::kGroup, .group_size = 2},
      {.granularity = Granularity::kGroup, .group_size = 32},
      {.granularity = Granularity::kGroup, .group_size = 4, .axis = GroupAxis::kIn}};
  for (const RowKernels* table : SupportedRowKernels()) {
    ASSERT_TRUE(SetRowKernelsForTest(table->name));
    for (const Partition& partition : partitions) {
      for (const ZeroPoint zero : {ZeroPoint::kInteger, ZeroPoint::kReal}) {
        for (const int64_t cols : {1, 13, 100, 600}) {
          Spec spec;
          spec.levels = {.symmetry = Symmetry::kAsymmetric, .zero = zero};
          spec.partition = partition;
          const Coded coded = reference::RandomCoded(spec, 9, cols, nullptr, 3);
          const std::vector<float> w = Gaussian(9 * cols, 4);
          SCOPED_TRACE(table->name);
          ExpectNear(MeasureAll(coded, w), Expected(coded, w));
        }
      }
    }
  }
  SetRowKernelsForTest("");
}

TEST(ErrorAccumulatorTest, HonoursTheGroupOfEachColumn) {
  CodedShared shared;
  for (int j = 0; j < 64; ++j) shared.group_of_column.push_back(3 - j / 16);
  const Coded coded = reference::RandomCoded(MakeSpec(16), 4, 64, &shared, 5);
  const std::vector<float> w = Gaussian(4 * 64, 6);
  const ErrorMeasures measures = MeasureAll(coded, w);
  EXPECT_GT(measures.clipped_share, 0.0);
  ExpectNear(measures, Expected(coded, w));
}

TEST(ErrorAccumulatorTest, WhatIsStoredBesideTheCodeIsNotClipped) {
  CodedShared shared;
  shared.kept_columns = {2, 5};
  for (const bool per_ic : {false, true}) {
    Spec spec = MakeSpec(8);
    if (per_ic) spec.partition = {.granularity = Granularity::kColumn};
    Coded coded = reference::RandomCoded(spec, 3, 16, &shared, 7);
    std::fill(coded.scales.begin(), coded.scales.end(), 0.01f);  // nearly everything is clipped
    coded.kept.assign(3 * 2, 1.0f);
    coded.outliers = {.begin = {0, 3, 3, 4}, .column = {0, 5, 9, 15}, .value = {1, 1, 1, 1}};
    coded.recent.assign(16, 0.5f);
    const std::vector<float> w = Gaussian(3 * 16, 8);
    const ErrorMeasures measures = MeasureAll(coded, w);
    EXPECT_GT(measures.clipped_share, 0.3);
    ExpectNear(measures, Expected(coded, w));
  }
}

TEST(ErrorAccumulatorTest, OtherLevelsThanAffineHaveNoClippedShare) {
  Spec spec = MakeSpec(16);
  spec.levels = {.kind = LevelKind::kMinifloat};
  Coded coded = reference::RandomCoded(spec, 2, 32, nullptr, 9);
  std::fill(coded.scales.begin(), coded.scales.end(), 1e-3f);
  const std::vector<float> w = Gaussian(64, 10);
  EXPECT_EQ(MeasureAll(coded, w).clipped_share, 0.0);
  ExpectNear(MeasureAll(coded, w), Expected(coded, w));
}

// Codes of patches: nothing but the decoded row says what they are.
TEST(ErrorAccumulatorTest, AdditiveLevelsHaveNoClippedShare) {
  Spec spec;
  spec.levels = {.kind = LevelKind::kAdditive, .in_group = 8};
  spec.partition.granularity = Granularity::kRow;
  Coded coded;
  coded.Reshape(spec, 0, 2, 2, 32, nullptr);
  ASSERT_TRUE(coded.codes.empty());
  const std::vector<float> w = Gaussian(64, 10), decoded(64, 1e-3f);
  ErrorAccumulator sums, plain;
  for (int r = 0; r < 2; ++r) sums.AddCodedRow(coded, r, &w[r * 32], &decoded[r * 32]);
  plain.AddRows(w.data(), decoded.data(), 2, 32);
  ExpectNear(sums.Finish(2, 32), plain.Finish(2, 32));
  EXPECT_EQ(sums.Finish(2, 32).clipped_share, 0.0);
}

TEST(ErrorAccumulatorTest, AnExactWeightHasNoError) {
  Coded coded = UnitSteps(16);
  std::vector<float> w;
  for (int i = 0; i < 16; ++i) {
    w.push_back(static_cast<float>(i - 8));
    coded.codes[i] = static_cast<uint8_t>(i);
  }
  const ErrorMeasures measures = MeasureAll(coded, w);
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
  const Coded coded = UnitSteps(8);
  EXPECT_EQ(MeasureAll(coded, w).clipped_share, 3.0 / 8.0);
  ErrorAccumulator only_clipped;
  only_clipped.AddClipped(coded, 0, w.data());
  EXPECT_EQ(only_clipped.Finish(1, 8).clipped_share, 3.0 / 8.0);
  EXPECT_EQ(only_clipped.error_square(), 0.0);
}

TEST(ErrorAccumulatorTest, MergingStripesIsAddingThemInOrder) {
  const std::vector<float> w = Gaussian(12 * 40, 11);
  const Coded coded = reference::RandomCoded(MakeSpec(40), 12, 40, nullptr, 12);
  const std::vector<float> decoded = reference::DecodeAll(coded);
  const auto merged = [&] {
    ErrorAccumulator total;
    for (int64_t r = 0; r < 12; r += 5) {
      ErrorAccumulator stripe;
      for (int64_t i = r; i < std::min<int64_t>(12, r + 5); ++i) {
        stripe.AddCodedRow(coded, i, &w[i * 40], &decoded[i * 40]);
      }
      total.Merge(stripe);
    }
    return total;
  };
  const ErrorAccumulator a = merged();
  ExpectNear(a.Finish(12, 40), Expected(coded, w));
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
