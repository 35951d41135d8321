#include "workers/core/coded.h"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <string>
#include <vector>

namespace quantd {
namespace {

constexpr int64_t kM = 96;
constexpr int64_t kN = 40;

Spec Grouped(LevelKind kind, int bits, int64_t group_size, GroupAxis axis = GroupAxis::kOut) {
  Spec spec;
  spec.levels.kind = kind;
  spec.levels.bits = bits;
  spec.partition.group_size = group_size;
  spec.partition.axis = axis;
  spec.partition.tail = TailPolicy::kShortLastGroup;
  return spec;
}

// 3 codebooks over patches of 4 x 5: 24 out groups, 8 in groups; one scale for each of them.
Spec Additive(StorageKind storage = StorageKind::kF16) {
  Spec spec = Grouped(LevelKind::kAdditive, 4, 5);
  spec.levels.codebooks = 3;
  spec.levels.codebook_bits = 9;
  spec.levels.out_group = 4;
  spec.levels.in_group = 5;
  spec.storage.kind = storage;
  return spec;
}

Coded Reshaped(const Spec& spec, int64_t begin = 0, int64_t rows = kM) {
  Coded coded;
  coded.Reshape(spec, begin, rows, kM, kN, nullptr);
  return coded;
}

TEST(CodedReshapeTest, SizesAStripeOfGroupsAlongRows) {
  CodedShared shared;
  Coded coded;
  coded.Reshape(Grouped(LevelKind::kAffineInt, 4, 100), 7, 3, 64, 250, &shared);
  EXPECT_EQ(coded.row_begin, 7);
  EXPECT_EQ(coded.rows, 3);
  EXPECT_EQ(coded.cols, 250);
  EXPECT_EQ(coded.group_columns, 100);
  EXPECT_EQ(coded.group_rows, 1);
  EXPECT_EQ(coded.groups, 3);
  EXPECT_EQ(coded.param_rows, 3);
  EXPECT_EQ(coded.shared, &shared);
  EXPECT_EQ(coded.codes.size(), 750u);
  EXPECT_EQ(coded.scales.size(), 9u);
  EXPECT_EQ(coded.zeros.size(), 9u);
  EXPECT_EQ(coded.GroupOf(199), 1);
  EXPECT_EQ(coded.GroupOf(200), 2);
  EXPECT_EQ(coded.ParamOf(2, 200), 8);
  shared.group_of_column.assign(250, 1);
  EXPECT_EQ(coded.GroupOf(200), 1);
}

TEST(CodedReshapeTest, SizesAStripeOfGroupsDownColumns) {
  const Coded coded = Reshaped(Grouped(LevelKind::kAffineInt, 4, 32, GroupAxis::kIn), 32, 40);
  EXPECT_EQ(coded.group_columns, 1);
  EXPECT_EQ(coded.group_rows, 32);
  EXPECT_EQ(coded.groups, kN);
  EXPECT_EQ(coded.param_rows, 2);  // the second one short
  EXPECT_EQ(coded.scales.size(), static_cast<size_t>(2 * kN));
  EXPECT_EQ(coded.ParamOf(31, 5), 5);
  EXPECT_EQ(coded.ParamOf(32, 5), kN + 5);
}

TEST(CodedReshapeTest, ATensorRepeatsItsOneScaleInEveryRow) {
  Spec spec = Grouped(LevelKind::kAffineInt, 4, 8);
  spec.partition.granularity = Granularity::kTensor;
  EXPECT_EQ(Reshaped(spec).scales.size(), static_cast<size_t>(kM));
}

// Arrays that a kind of levels or storage has; all others must be empty.
struct Arrays {
  size_t scales = 0, zeros = 0, real_zeros = 0, scale_codes = 0, zero_codes = 0, super = 0,
         tables = 0;
};

void ExpectArrays(const std::string& what, const Spec& spec, const Arrays& want) {
  const Coded coded = Reshaped(spec);
  EXPECT_EQ(coded.codes.size(), static_cast<size_t>(kM * kN)) << what;
  EXPECT_TRUE(coded.book_codes.empty()) << what;
  EXPECT_EQ(coded.scales.size(), want.scales) << what;
  EXPECT_EQ(coded.zeros.size(), want.zeros) << what;
  EXPECT_EQ(coded.real_zeros.size(), want.real_zeros) << what;
  EXPECT_EQ(coded.scale_codes.size(), want.scale_codes) << what;
  EXPECT_EQ(coded.zero_codes.size(), want.zero_codes) << what;
  EXPECT_EQ(coded.super.size(), want.super) << what;
  EXPECT_EQ(coded.tables.size(), want.tables) << what;
}

TEST(CodedReshapeTest, EveryKindHasItsArraysAndNoOther) {
  constexpr size_t kGrid = kM * 5;  // groups of 8 in 40 columns
  ExpectArrays("affine", Grouped(LevelKind::kAffineInt, 4, 8), {.scales = kGrid, .zeros = kGrid});
  for (const LevelKind kind :
       {LevelKind::kMinifloat, LevelKind::kFixedTable, LevelKind::kCluster}) {
    ExpectArrays("scaled levels", Grouped(kind, 4, 8), {.scales = kGrid});
  }
  ExpectArrays("learned tables", Grouped(LevelKind::kLearnedTable, 3, 8), {.tables = kGrid * 8});
  ExpectArrays("binary coding", Grouped(LevelKind::kBinaryCoding, 3, 8), {.tables = kGrid * 4});

  Spec real = Grouped(LevelKind::kAffineInt, 3, 8);
  real.levels.symmetry = Symmetry::kAsymmetric;
  real.levels.zero = ZeroPoint::kReal;
  ExpectArrays("real zeros", real, {.scales = kGrid, .real_zeros = kGrid});
  real.storage.kind = StorageKind::kInt;
  real.storage.super_group = 16;
  ExpectArrays("codes of scales and zeros", real,
               {.scales = kGrid,
                .real_zeros = kGrid,
                .scale_codes = kGrid,
                .zero_codes = kGrid,
                .super = kM / 16 * 5 * 4});

  Spec coded = Grouped(LevelKind::kMinifloat, 4, 8);
  for (const StorageKind kind : {StorageKind::kE8M0, StorageKind::kE4M3}) {
    coded.storage.kind = kind;
    ExpectArrays("coded scales", coded, {.scales = kGrid, .scale_codes = kGrid});
  }
  coded.storage.kind = StorageKind::kNested;
  ExpectArrays("nested scales", coded,
               {.scales = kGrid, .scale_codes = kGrid, .super = 2});  // 480 in runs of 256
}

TEST(CodedReshapeTest, SizesAStripeOfAdditiveCodes) {
  Coded coded = Reshaped(Grouped(LevelKind::kAffineInt, 4, 8));  // leaves its arrays behind
  coded.Reshape(Additive(), 32, 12, kM, kN, nullptr);
  EXPECT_TRUE(coded.codes.empty());
  EXPECT_TRUE(coded.zeros.empty());
  EXPECT_TRUE(coded.super.empty());
  EXPECT_TRUE(coded.tables.empty());
  EXPECT_EQ(coded.group_rows, 4);
  EXPECT_EQ(coded.param_rows, 3);
  EXPECT_EQ(coded.groups, 8);
  EXPECT_EQ(coded.book_codes.size(), 3u * 8 * 3);
  EXPECT_EQ(coded.scales.size(), 3u * 8);
  EXPECT_EQ(coded.ParamOf(7, 14), 8 + 2);

  Spec rows = Additive();
  rows.partition.granularity = Granularity::kRow;
  coded.Reshape(rows, 32, 12, kM, kN, nullptr);
  EXPECT_EQ(coded.groups, 1);
  EXPECT_EQ(coded.scales.size(), 3u);
  EXPECT_EQ(coded.book_codes.size(), 3u * 8 * 3);

  coded.Reshape(Additive(StorageKind::kTable), 32, 12, kM, kN, nullptr);
  EXPECT_EQ(coded.scale_codes.size(), 3u * 8);
  EXPECT_EQ(coded.super.size(), 3u * 8);  // 2^3 numbers for each out group
  EXPECT_TRUE(coded.zero_codes.empty());
}

TEST(CodedReshapeTest, TheOneTableOfATensorIsShared) {
  Spec spec = Grouped(LevelKind::kLearnedTable, 4, 8);
  spec.partition.granularity = Granularity::kTensor;
  ExpectArrays("table of a tensor", spec, {});
}

TEST(CodedReshapeTest, ColumnScoresMakeRoomForTheHighBits) {
  Spec spec = Grouped(LevelKind::kLearnedTable, 2, 8);
  spec.partition.granularity = Granularity::kColumn;
  spec.allocation.kind = AllocationKind::kColumnScore;
  spec.allocation.high_bits = 4;
  const Coded coded = Reshaped(spec);
  EXPECT_EQ(coded.levels.bits, 4);
  EXPECT_EQ(coded.tables.size(), static_cast<size_t>(kN * 16));
}

TEST(CodedReshapeTest, DropsTheExceptionsOfTheStripeBefore) {
  Coded coded = Reshaped(Grouped(LevelKind::kAffineInt, 4, 8));
  coded.outliers = {{0, 1}, {3}, {0.5f}};
  coded.kept = {1, 2};
  coded.recent = {1};
  coded.Reshape(Grouped(LevelKind::kAffineInt, 4, 8), 0, 4, kM, kN, nullptr);
  EXPECT_EQ(coded.outliers, OutlierTable());
  EXPECT_TRUE(coded.kept.empty());
  EXPECT_TRUE(coded.recent.empty());
}

template <typename T>
void Number(std::vector<T>* values, int first) {
  for (size_t i = 0; i < values->size(); ++i) {
    (*values)[i] = static_cast<T>((i * 7 + first) % 251);
  }
}

// Every number differs from its neighbours, two outliers a row, three kept columns, and the last
// `recent` rows of the weight are recent.
Coded Whole(const Spec& spec, int64_t recent) {
  Coded coded = Reshaped(spec);
  Number(&coded.book_codes, 11);
  Number(&coded.codes, 1), Number(&coded.scales, 2), Number(&coded.zeros, 3);
  Number(&coded.real_zeros, 4), Number(&coded.scale_codes, 5), Number(&coded.zero_codes, 6);
  Number(&coded.super, 7), Number(&coded.tables, 8);
  coded.kept.resize(kM * 3), Number(&coded.kept, 9);
  coded.recent.resize(recent * kN), Number(&coded.recent, 10);
  coded.outliers.begin.resize(kM + 1);
  for (int64_t r = 0; r <= kM; ++r) coded.outliers.begin[r] = static_cast<int32_t>(2 * r);
  for (int64_t r = 0; r < kM; ++r) {
    for (const int64_t c : {r % 7, r % 7 + 9}) {
      coded.outliers.column.push_back(static_cast<int32_t>(c));
      coded.outliers.value.push_back(static_cast<float>(r + c));
    }
  }
  return coded;
}

template <typename T>
void Cut(const std::vector<T>& whole, int64_t begin, std::vector<T>* part) {
  std::copy_n(whole.begin() + begin, part->size(), part->begin());
}

Coded Stripe(const Spec& spec, const Coded& whole, int64_t begin, int64_t rows, int64_t recent) {
  Coded part = Reshaped(spec, begin, rows);
  const int64_t param = begin / part.group_rows * part.groups;
  if (spec.levels.additive()) {
    Cut(whole.book_codes, begin / 4 * 8 * 3, &part.book_codes);
  } else {
    Cut(whole.codes, begin * kN, &part.codes);
  }
  Cut(whole.scales, param, &part.scales), Cut(whole.zeros, param, &part.zeros);
  Cut(whole.real_zeros, param, &part.real_zeros);
  Cut(whole.scale_codes, param, &part.scale_codes);
  Cut(whole.zero_codes, param, &part.zero_codes);
  if (spec.storage.kind == StorageKind::kInt) {
    Cut(whole.super, begin / spec.storage.super_group * part.groups * 4, &part.super);
  } else if (spec.storage.kind == StorageKind::kTable) {
    Cut(whole.super, begin / 4 * 8, &part.super);
  } else if (!part.super.empty()) {
    Cut(whole.super, param / 256, &part.super);
  }
  Cut(whole.tables, param * part.levels.table_numbers(), &part.tables);
  part.kept.resize(rows * 3), Cut(whole.kept, begin * 3, &part.kept);
  const int64_t first_recent = kM - recent, from = std::max(begin, first_recent);
  part.recent.resize(std::max<int64_t>(0, begin + rows - from) * kN);
  Cut(whole.recent, std::max<int64_t>(0, from - first_recent) * kN, &part.recent);
  for (int64_t r = begin; r <= begin + rows; ++r) {
    part.outliers.begin.push_back(whole.outliers.begin[r] - whole.outliers.begin[begin]);
  }
  part.outliers.column.assign(whole.outliers.column.begin() + 2 * begin,
                              whole.outliers.column.begin() + 2 * (begin + rows));
  part.outliers.value.assign(whole.outliers.value.begin() + 2 * begin,
                             whole.outliers.value.begin() + 2 * (begin + rows));
  return part;
}

std::vector<Spec> EveryKind() {
  std::vector<Spec> specs = {
      Grouped(LevelKind::kAffineInt, 4, 8), Grouped(LevelKind::kAffineInt, 4, 32, GroupAxis::kIn),
      Grouped(LevelKind::kLearnedTable, 3, 8), Grouped(LevelKind::kBinaryCoding, 3, 8)};
  Spec spqr = Grouped(LevelKind::kAffineInt, 3, 8);
  spqr.levels.symmetry = Symmetry::kAsymmetric;
  spqr.levels.zero = ZeroPoint::kReal;
  spqr.storage.kind = StorageKind::kInt;
  specs.push_back(spqr);
  specs.push_back(Additive());
  specs.push_back(Additive(StorageKind::kTable));
  Spec nested = Grouped(LevelKind::kFixedTable, 4, 8);
  nested.storage.kind = StorageKind::kNested;
  specs.push_back(nested);
  return specs;
}

constexpr int64_t kRecent = 20;  // of 96 rows; a stripe of 32 rows holds some of them

TEST(CodedHoldsTest, EveryStripeOfItself) {
  for (const Spec& spec : EveryKind()) {
    const Coded whole = Whole(spec, kRecent);
    const bool nested = spec.storage.kind == StorageKind::kNested;
    EXPECT_TRUE(whole.Holds(whole));
    for (const int64_t begin : {0, 32, 64}) {
      // Nested stripes begin at a multiple of 256 rows: here at 0 alone.
      if (nested && begin > 0) continue;
      const int64_t rows = nested ? kM : 32;
      EXPECT_TRUE(whole.Holds(Stripe(spec, whole, begin, rows, kRecent)))
          << LevelKindName(spec.levels.kind) << " " << begin;
    }
  }
}

TEST(CodedHoldsTest, NoStripeWithOneNumberChanged) {
  const std::vector<std::pair<const char*, std::function<bool(Coded*)>>> changes = {
      {"codes", [](Coded* c) { return !c->codes.empty() && (c->codes.back() ^= 1, true); }},
      {"book_codes",
       [](Coded* c) { return !c->book_codes.empty() && (c->book_codes.back() ^= 1, true); }},
      {"out groups without codes",
       [](Coded* c) { return !c->book_codes.empty() && (c->book_codes.pop_back(), true); }},
      {"additive rows with plain codes",
       [](Coded* c) { return c->codes.empty() && (c->codes.push_back(0), true); }},
      {"plain rows with additive codes",
       [](Coded* c) { return c->book_codes.empty() && (c->book_codes.push_back(0), true); }},
      {"scales", [](Coded* c) { return !c->scales.empty() && (c->scales.back() += 1, true); }},
      {"zeros", [](Coded* c) { return !c->zeros.empty() && (c->zeros.back() ^= 1, true); }},
      {"real_zeros",
       [](Coded* c) { return !c->real_zeros.empty() && (c->real_zeros[0] += 1, true); }},
      {"scale_codes",
       [](Coded* c) { return !c->scale_codes.empty() && (c->scale_codes[0] ^= 1, true); }},
      {"zero_codes",
       [](Coded* c) { return !c->zero_codes.empty() && (c->zero_codes[0] ^= 1, true); }},
      {"super", [](Coded* c) { return !c->super.empty() && (c->super.back() += 1, true); }},
      {"tables", [](Coded* c) { return !c->tables.empty() && (c->tables.back() += 1, true); }},
      {"kept", [](Coded* c) { return c->kept[0] += 1, true; }},
      {"recent", [](Coded* c) { return c->recent.back() += 1, true; }},
      {"recent rows", [](Coded* c) { return c->recent.resize(c->recent.size() - kN), true; }},
      {"outlier value", [](Coded* c) { return c->outliers.value.back() += 1, true; }},
      {"outlier column", [](Coded* c) { return c->outliers.column[0] += 1, true; }},
      {"outlier row", [](Coded* c) { return c->outliers.begin[1] += 1, true; }},
      {"outliers", [](Coded* c) { return c->outliers = OutlierTable(), true; }},
      {"row_begin", [](Coded* c) { return c->row_begin -= 32, true; }},
      {"beyond", [](Coded* c) { return c->row_begin += 32, true; }},
      {"before", [](Coded* c) { return c->row_begin = -32, true; }},
      {"cols", [](Coded* c) { return c->cols -= 1, true; }},
      {"groups", [](Coded* c) { return c->groups += 1, true; }},
      {"rows without codes",
       [](Coded* c) { return !c->codes.empty() && (c->codes.pop_back(), true); }},
  };
  std::vector<int> used(changes.size());
  for (const Spec& spec : EveryKind()) {
    if (spec.storage.kind == StorageKind::kNested) continue;
    const Coded whole = Whole(spec, kRecent);
    ASSERT_TRUE(whole.Holds(Stripe(spec, whole, 64, 32, kRecent)));
    for (size_t i = 0; i < changes.size(); ++i) {
      Coded part = Stripe(spec, whole, 64, 32, kRecent);
      if (!changes[i].second(&part)) continue;
      ++used[i];
      EXPECT_FALSE(whole.Holds(part))
          << changes[i].first << ", " << LevelKindName(spec.levels.kind);
    }
  }
  for (size_t i = 0; i < changes.size(); ++i) EXPECT_GT(used[i], 0) << changes[i].first;
}

TEST(CodedHoldsTest, NestedNumbersOfTheSecondLevelCount) {
  const Spec spec = EveryKind().back();
  const Coded whole = Whole(spec, 0);
  Coded part = Stripe(spec, whole, 0, kM, 0);
  EXPECT_TRUE(whole.Holds(part));
  part.super[1] += 1;
  EXPECT_FALSE(whole.Holds(part));
}

TEST(CodedHoldsTest, AStripeInsideOneGroupOfRows) {
  const Spec spec = Grouped(LevelKind::kAffineInt, 4, 96, GroupAxis::kIn);
  Coded whole = Whole(spec, 0);
  ASSERT_EQ(whole.param_rows, 1);
  Coded part = Stripe(spec, whole, 0, 32, 0);
  for (const int64_t begin : {32, 64}) {
    part.row_begin = begin;
    Cut(whole.codes, begin * kN, &part.codes);
    Cut(whole.kept, begin * 3, &part.kept);
    Cut(whole.outliers.column, begin * 2, &part.outliers.column);
    Cut(whole.outliers.value, begin * 2, &part.outliers.value);
    EXPECT_TRUE(whole.Holds(part)) << begin;
  }
  part.scales[3] += 1;
  EXPECT_FALSE(whole.Holds(part));
}

TEST(CodedHoldsTest, OutliersOfOneSideAloneDiffer) {
  const Spec spec = Grouped(LevelKind::kAffineInt, 4, 8);
  Coded whole = Whole(spec, 0), bare = whole;
  bare.outliers = OutlierTable();
  EXPECT_FALSE(whole.Holds(bare));
  EXPECT_FALSE(bare.Holds(whole));
  EXPECT_TRUE(bare.Holds(bare));
}

}  // namespace
}  // namespace quantd
