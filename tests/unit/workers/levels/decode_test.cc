#include "workers/levels/decode.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/reference/levels_reference.h"
#include "workers/levels/level_table.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

using reference::RandomCoded;

std::vector<Levels> AllLevels() {
  std::vector<Levels> all;
  for (int bits = 2; bits <= 8; ++bits) {
    all.push_back({.bits = bits});
    all.push_back({.bits = bits, .symmetry = Symmetry::kAsymmetric, .zero = ZeroPoint::kReal});
    all.push_back({.kind = LevelKind::kLearnedTable, .bits = bits});
    all.push_back({.kind = LevelKind::kBinaryCoding, .bits = bits});
  }
  for (const auto& shape : reference::kMinifloats) {
    all.push_back({.kind = LevelKind::kMinifloat, .format = shape.format});
  }
  for (const FixedTable table : {FixedTable::kNf4, FixedTable::kFp4}) {
    all.push_back({.kind = LevelKind::kFixedTable, .table = table});
  }
  all.push_back({.kind = LevelKind::kCluster});
  for (Levels& levels : all) {
    if (levels.fixed_bits() != 0) levels.bits = levels.fixed_bits();
  }
  return all;
}

std::vector<Partition> AllPartitions() {
  return {{.granularity = Granularity::kTensor},
          {.granularity = Granularity::kRow},
          {.granularity = Granularity::kColumn},
          {.granularity = Granularity::kGroup, .group_size = 16},
          {.granularity = Granularity::kGroup, .group_size = 24},
          {.granularity = Granularity::kGroup, .group_size = 4, .axis = GroupAxis::kIn},
          {.granularity = Granularity::kGroup, .group_size = 64, .axis = GroupAxis::kIn}};
}

// NaN and infinity are numbers of E4M3 and E5M2 that no packer writes: they are tested apart.
void MakeFinite(Coded* coded) {
  if (coded->levels.kind != LevelKind::kMinifloat || coded->levels.bits != 8) return;
  for (uint8_t& code : coded->codes) code = (code & 0x7F) >= 0x7B ? 0x3A : code;
}

TEST(DecodeTest, EveryKindUnderEveryPartitionGivesTheReferenceValues) {
  CodedShared shared;
  for (const Levels& levels : AllLevels()) {
    shared.table.resize(levels.max_code() + 1);
    for (int i = 0; i <= levels.max_code(); ++i) shared.table[i] = 0.1f * static_cast<float>(i - 3);
    for (const Partition& partition : AllPartitions()) {
      for (const int64_t cols : {1, 40, 77}) {
        Spec spec;
        spec.levels = levels;
        spec.partition = partition;
        Coded coded = RandomCoded(spec, 9, cols, &shared, 3);
        MakeFinite(&coded);
        for (const RowKernels* table : SupportedRowKernels()) {
          ASSERT_TRUE(SetRowKernelsForTest(table->name));
          std::vector<float> out(9 * cols), row(cols);
          Decode(coded, out.data());
          ASSERT_EQ(out, reference::DecodeAll(coded))
              << LevelKindName(levels.kind) << " " << levels.bits << " "
              << GranularityName(partition.granularity) << " " << cols << " " << table->name;
          DecodeRow(coded, 7, row.data());
          ASSERT_EQ(row, std::vector<float>(out.begin() + 7 * cols, out.begin() + 8 * cols));
        }
        SetRowKernelsForTest("");
      }
    }
  }
}

TEST(DecodeTest, ManyShortGroupsAlongARow) {
  Spec spec;
  spec.partition.group_size = 2;
  for (const ZeroPoint zero : {ZeroPoint::kInteger, ZeroPoint::kReal}) {
    spec.levels = {.symmetry = Symmetry::kAsymmetric, .zero = zero};
    const Coded coded = RandomCoded(spec, 2, 1201, nullptr, 4);
    std::vector<float> out(2 * 1201);
    Decode(coded, out.data());
    EXPECT_EQ(out, reference::DecodeAll(coded));
  }
}

TEST(DecodeTest, HonoursTheGroupOfEachColumn) {
  CodedShared shared;
  for (int j = 0; j < 64; ++j) shared.group_of_column.push_back((j * 7) % 4);
  for (const Levels& levels : AllLevels()) {
    Spec spec;
    spec.levels = levels;
    spec.partition.group_size = 16;
    Coded coded = RandomCoded(spec, 3, 64, &shared, 5);
    MakeFinite(&coded);
    std::vector<float> out(3 * 64);
    Decode(coded, out.data());
    EXPECT_EQ(out, reference::DecodeAll(coded)) << LevelKindName(levels.kind);
  }
}

TEST(DecodeTest, KeptColumnsReplaceOutliersAddAndRecentRowsReplaceAll) {
  CodedShared shared;
  shared.kept_columns = {1, 4};
  Spec spec;
  spec.partition.group_size = 4;
  Coded coded = RandomCoded(spec, 4, 8, &shared, 6);
  const std::vector<float> before = [&] {
    Coded bare = coded;
    bare.shared = nullptr;
    return reference::DecodeAll(bare);
  }();
  coded.kept = {10, 11, 20, 21, 30, 31, 40, 41};
  coded.outliers.begin = {0, 2, 2, 3, 4};
  coded.outliers.column = {0, 7, 3, 2};
  coded.outliers.value = {100.0f, 200.0f, 300.0f, 400.0f};
  coded.recent.assign(8, -7.0f);
  std::vector<float> out(4 * 8);
  Decode(coded, out.data());
  EXPECT_EQ(out, reference::DecodeAll(coded));
  EXPECT_EQ(out[1], 10.0f);
  EXPECT_EQ(out[0], before[0] + 100.0f);
  EXPECT_EQ(out[2 * 8 + 3], before[2 * 8 + 3] + 300.0f);
  EXPECT_EQ(out[2 * 8 + 4], 31.0f);
  EXPECT_EQ(out[5], before[5]);
  for (int j = 0; j < 8; ++j) EXPECT_EQ(out[3 * 8 + j], -7.0f);
}

// Columns with fewer bits use the first slots of a table that has room for the larger width.
TEST(DecodeTest, ColumnsOfDifferentWidthsShareOneTableSize) {
  CodedShared shared;
  shared.column_bits = {2, 4, 2};
  Spec spec;
  spec.levels = {.kind = LevelKind::kLearnedTable, .bits = 2};
  spec.partition.granularity = Granularity::kColumn;
  spec.allocation = {.kind = AllocationKind::kColumnScore, .high_bits = 4};
  Coded coded = RandomCoded(spec, 5, 3, &shared, 7);
  ASSERT_EQ(coded.tables.size(), 3u * 16u);
  for (size_t i = 0; i < coded.codes.size(); ++i) coded.codes[i] %= i % 3 == 1 ? 16 : 4;
  std::vector<float> out(15);
  Decode(coded, out.data());
  for (int i = 0; i < 15; ++i) EXPECT_EQ(out[i], coded.tables[i % 3 * 16 + coded.codes[i]]);
}

TEST(DecodeTest, TheZeroCodeIsExactlyZero) {
  Coded coded = RandomCoded(Spec{}, 1, 128, nullptr, 8);
  coded.scales = {0.3f};
  coded.zeros = {8};
  coded.codes.assign(128, 8);
  std::vector<float> out(128, 1.0f);
  Decode(coded, out.data());
  EXPECT_EQ(out, std::vector<float>(128, 0.0f));
}

}  // namespace
}  // namespace quantd
