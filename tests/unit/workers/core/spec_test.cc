#include "workers/core/spec.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/types/span.h"
#include "workers/core/spec_names.h"

namespace quantd {
namespace {

TEST(LevelsTest, CountsCodes) {
  for (int bits = 2; bits <= 8; ++bits) {
    Levels levels;
    levels.bits = bits;
    EXPECT_EQ(levels.max_code() + 1, 2 * levels.middle_code());
  }
  Levels four;
  four.symmetry = Symmetry::kAsymmetric;
  EXPECT_EQ(four.max_code(), 15);
  EXPECT_FALSE(four.symmetric());
}

TEST(LevelsTest, OnlyAsymmetricAffineLevelsHaveAZeroPoint) {
  Levels levels;
  EXPECT_TRUE(levels.symmetric());
  levels.zero = ZeroPoint::kReal;
  EXPECT_FALSE(levels.real_zero());
  levels.symmetry = Symmetry::kAsymmetric;
  EXPECT_TRUE(levels.real_zero());
  levels.zero = ZeroPoint::kInteger;
  EXPECT_FALSE(levels.real_zero());
  levels.kind = LevelKind::kMinifloat;
  levels.zero = ZeroPoint::kReal;
  EXPECT_TRUE(levels.symmetric());
  EXPECT_FALSE(levels.real_zero());
}

TEST(LevelsTest, TablesAndBinaryCodingStoreNumbersInsteadOfAScale) {
  Levels levels;
  levels.bits = 3;
  for (const LevelKind kind : {LevelKind::kAffineInt, LevelKind::kMinifloat, LevelKind::kFixedTable,
                               LevelKind::kCluster}) {
    levels.kind = kind;
    EXPECT_TRUE(levels.scaled());
    EXPECT_EQ(levels.table_numbers(), 0);
  }
  levels.kind = LevelKind::kLearnedTable;
  EXPECT_FALSE(levels.scaled());
  EXPECT_EQ(levels.table_numbers(), 8);
  levels.kind = LevelKind::kBinaryCoding;
  EXPECT_FALSE(levels.scaled());
  EXPECT_EQ(levels.table_numbers(), 4);
}

TEST(LevelsTest, AdditiveOnesCountTheBitsOfTheirCodes) {
  Levels levels;
  EXPECT_FALSE(levels.additive());
  levels.kind = LevelKind::kAdditive;
  EXPECT_TRUE(levels.additive());
  EXPECT_TRUE(levels.scaled());
  EXPECT_TRUE(levels.symmetric());
  EXPECT_EQ(levels.fixed_bits(), 0);
  EXPECT_EQ(levels.table_numbers(), 0);
  levels.codebooks = 2, levels.codebook_bits = 8, levels.in_group = 8;
  EXPECT_EQ(levels.entries(), 256);
  EXPECT_EQ(levels.additive_bits(), 2.0);
  levels.codebooks = 1, levels.codebook_bits = 16, levels.out_group = 2;
  EXPECT_EQ(levels.entries(), 65536);
  EXPECT_EQ(levels.additive_bits(), 1.0);
}

TEST(FormatTest, HasTheBitsOfItsName) {
  EXPECT_EQ((Levels{.kind = LevelKind::kMinifloat, .format = NumberFormat::kE2M1}).fixed_bits(), 4);
  EXPECT_EQ((Levels{.kind = LevelKind::kMinifloat, .format = NumberFormat::kE3M2}).fixed_bits(), 6);
  EXPECT_EQ((Levels{.kind = LevelKind::kMinifloat, .format = NumberFormat::kE2M3}).fixed_bits(), 6);
  EXPECT_EQ((Levels{.kind = LevelKind::kMinifloat, .format = NumberFormat::kE4M3}).fixed_bits(), 8);
  EXPECT_EQ((Levels{.kind = LevelKind::kMinifloat, .format = NumberFormat::kE5M2}).fixed_bits(), 8);
}

Partition Of(Granularity granularity, int64_t size, GroupAxis axis = GroupAxis::kOut) {
  Partition p;
  p.granularity = granularity;
  p.group_size = size;
  p.axis = axis;
  return p;
}

TEST(PartitionTest, CountsGroupsOfARow) {
  const Partition groups = Of(Granularity::kGroup, 128);
  EXPECT_EQ(groups.GroupsPerRow(256), 2);
  EXPECT_EQ(groups.GroupsPerRow(257), 3);
  EXPECT_EQ(groups.GroupsPerRow(5), 1);
  EXPECT_EQ(groups.GroupColumns(5), 5);
  EXPECT_EQ(groups.GroupRows(1000), 1);
  for (const Granularity one : {Granularity::kRow, Granularity::kTensor}) {
    const Partition whole = Of(one, 128);
    EXPECT_EQ(whole.GroupsPerRow(1000), 1);
    EXPECT_EQ(whole.GroupColumns(1000), 1000);
    EXPECT_EQ(whole.GroupRows(1000), 1);
    EXPECT_FALSE(whole.per_ic());
  }
}

TEST(PartitionTest, GroupsDownAColumnTakeOneColumnAndManyRows) {
  const Partition groups = Of(Granularity::kGroup, 64, GroupAxis::kIn);
  EXPECT_TRUE(groups.per_ic());
  EXPECT_EQ(groups.GroupColumns(300), 1);
  EXPECT_EQ(groups.GroupsPerRow(300), 300);
  EXPECT_EQ(groups.GroupRows(1000), 64);
  EXPECT_EQ(groups.GroupRows(10), 10);
  const Partition columns = Of(Granularity::kColumn, 64);
  EXPECT_TRUE(columns.per_ic());
  EXPECT_EQ(columns.GroupsPerRow(300), 300);
  EXPECT_EQ(columns.GroupRows(1000), 1000);
}

TEST(StorageTest, StoresCodesWhereNoFloatIsStored) {
  Storage s;
  for (const auto& [kind, dtype] : {std::pair{StorageKind::kF16, DType::kF16},
                                    {StorageKind::kBF16, DType::kBF16},
                                    {StorageKind::kF32, DType::kF32}}) {
    s.kind = kind;
    EXPECT_EQ(s.dtype(), dtype);
    EXPECT_FALSE(s.coded());
  }
  for (const StorageKind kind : {StorageKind::kE8M0, StorageKind::kE4M3, StorageKind::kInt,
                                 StorageKind::kNested, StorageKind::kTable}) {
    s.kind = kind;
    EXPECT_EQ(s.dtype(), DType::kU8);
    EXPECT_TRUE(s.coded());
  }
}

TEST(AxesTest, SayWhetherTheyDoAnything) {
  EXPECT_FALSE(Transform().any());
  EXPECT_FALSE(Exceptions().any());
  Transform t;
  t.correction = CorrectionKind::kQep;
  EXPECT_TRUE(t.any());
  Exceptions rows;
  rows.recent_rows = 1;
  EXPECT_TRUE(rows.any());
  EXPECT_FALSE(rows.stores_outliers());
  Exceptions outliers;
  outliers.outliers = OutlierKind::kThreshold;
  EXPECT_TRUE(outliers.any());
  EXPECT_TRUE(outliers.stores_outliers());
}

TEST(SpecNamesTest, AreWhatUsersType) {
  EXPECT_EQ(SymmetryName(Symmetry::kSymmetricMinMax), "symmetric-minmax");
  EXPECT_EQ(LevelKindName(LevelKind::kLearnedTable), "learned-table");
  EXPECT_EQ(GranularityName(Granularity::kColumn), "column");
  EXPECT_EQ(GroupAxisName(GroupAxis::kAdaptive), "adaptive");
  EXPECT_EQ(TailPolicyName(TailPolicy::kShortLastGroup), "short-last-group");
  EXPECT_EQ(FitKindName(FitKind::kShrinkSearch), "shrink-search");
  EXPECT_EQ(StorageKindName(StorageKind::kE8M0), "e8m0");
  EXPECT_EQ(ScalingKindName(ScalingKind::kSmooth), "smooth");
  EXPECT_EQ(RotationKindName(RotationKind::kBoth), "both");
  EXPECT_EQ(OutlierKindName(OutlierKind::kRangeFisher), "range-fisher");
  EXPECT_EQ(AllocationKindName(AllocationKind::kRoundOff), "round-off");
  EXPECT_EQ(OrderName(Order::kActOrder), "act-order");
  EXPECT_EQ(GroupTimingName(GroupTiming::kDynamic), "dynamic");
  EXPECT_EQ(FactorizationName(Factorization::kCholesky), "cholesky");
  EXPECT_EQ(SolverName(Solver::kGptq), "gptq");
  EXPECT_EQ(LevelKindName(LevelKind::kAdditive), "additive");
  EXPECT_EQ(FitKindName(FitKind::kResidualKMeans), "residual-k-means");
  EXPECT_EQ(FitKindName(FitKind::kGiven), "given");
  EXPECT_EQ(StorageKindName(StorageKind::kTable), "table");
  EXPECT_EQ(SolverName(Solver::kBeam), "beam");
  EXPECT_EQ(SolverName(static_cast<Solver>(200)), "unspecified");
}

}  // namespace
}  // namespace quantd
