// The slow decoder against worked examples of the format documents, and against the packers.
#include "client/files/independent_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>

#include "tests/unit/client/files/planned_run.h"
#include "workers/core/float16.h"
#include "workers/levels/decode.h"
#include "workers/transform/rotation.h"

namespace quantd {
namespace {

using ::quantd::testing::AdditiveSpec;
using ::quantd::testing::AsBytes;
using ::quantd::testing::GroupSpec;
using ::quantd::testing::PackWhole;
using ::quantd::testing::PatternCoded;
using ::quantd::testing::PatternWeight;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Spec Rows(int bits, StorageKind storage, bool symmetric) {
  Spec spec = GroupSpec(0);
  spec.partition.granularity = Granularity::kRow;
  spec.levels.bits = bits;
  spec.levels.symmetry = symmetric ? Symmetry::kSymmetricMinMax : Symmetry::kAsymmetric;
  spec.storage.kind = storage;
  return spec;
}

TEST(DecodeIndependently, ReadsTheDocumentedCompressedTensorsWord) {
  const std::string packed = "\x0F\x59\xC8\xA6";
  const std::string scale("\x00\x30", 2);  // 0.125 as F16
  const std::string shape("\1\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0", 16);
  const auto w =
      DecodeIndependently("compressed-tensors", {"m", 1, 8, Rows(4, StorageKind::kF16, true), {}},
                          {{{".weight_shape", DType::kI64, {2}}, AsBytes(shape)},
                           {{".weight_scale", DType::kF16, {1, 1}}, AsBytes(scale)},
                           {{".weight_packed", DType::kI32, {1, 1}}, AsBytes(packed)}},
                          0, 1);
  ASSERT_TRUE(w.ok()) << w.status();
  EXPECT_THAT(*w, ElementsAre(0.875f, -1, 0.125f, -0.375f, 0, 0.5f, -0.25f, 0.25f));
}

TEST(DecodeIndependently, ReadsTheDocumentedZeroPoints) {
  // Eight rows of one code 8 (q = 0): the weight is -z.
  std::string packed;
  for (int r = 0; r < 8; ++r) packed += std::string("\x08\0\0\0", 4);
  const std::string zeros = "\x85\x0F\xA9\xD7";
  std::string scale;
  for (int r = 0; r < 8; ++r) scale += std::string("\x80\x3F", 2);  // 1 as BF16
  const std::string shape("\x08\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16);
  const auto w =
      DecodeIndependently("compressed-tensors", {"m", 8, 1, Rows(4, StorageKind::kBF16, false), {}},
                          {{{".weight_packed", DType::kI32, {8, 1}}, AsBytes(packed)},
                           {{".weight_scale", DType::kBF16, {8, 1}}, AsBytes(scale)},
                           {{".weight_shape", DType::kI64, {2}}, AsBytes(shape)},
                           {{".weight_zero_point", DType::kI32, {1, 1}}, AsBytes(zeros)}},
                          0, 8);
  ASSERT_TRUE(w.ok()) << w.status();
  EXPECT_THAT(*w, ElementsAre(3, 0, -7, 8, -1, -2, 1, -5));
}

TEST(DecodeIndependently, ReadsTheDocumentedGptqZeros) {
  // One input column block of zero codes; the weight of row n is -z[n].
  const Spec spec = Rows(4, StorageKind::kF32, false);
  const std::string qweight(8 * 4, '\0');
  std::string scales;
  for (int r = 0; r < 8; ++r) scales += std::string("\0\0\x80\x3F", 4);
  const std::string g_idx(8 * 4, '\0');
  for (const auto& [layout, word] :
       {std::pair<const char*, std::string>{"gptq-v2", "\x70\x39\x1C\x8F"},
        std::pair<const char*, std::string>{"gptq", "\x6F\x28\x0B\x7E"}}) {
    const auto w = DecodeIndependently(layout, {"m", 8, 8, spec, {}},
                                       {{{".qweight", DType::kI32, {1, 8}}, AsBytes(qweight)},
                                        {{".qzeros", DType::kI32, {1, 1}}, AsBytes(word)},
                                        {{".scales", DType::kF32, {1, 8}}, AsBytes(scales)},
                                        {{".g_idx", DType::kI32, {8}}, AsBytes(g_idx)}},
                                       0, 8);
    ASSERT_TRUE(w.ok()) << w.status();
    std::vector<float> first;
    for (int r = 0; r < 8; ++r) first.push_back((*w)[r * 8]);
    EXPECT_THAT(first, ElementsAre(0, -7, -9, -3, -12, -1, -15, -8)) << layout;
  }
}

// Whatever a layout packs, the slow decoder reads as (code - zero) * scale.
TEST(DecodeIndependently, AgreesWithEveryPacker) {
  std::vector<Spec> specs;
  for (int bits = 2; bits <= 8; ++bits) {
    for (bool symmetric : {true, false}) {
      for (StorageKind storage : {StorageKind::kF16, StorageKind::kBF16, StorageKind::kF32}) {
        specs.push_back(Rows(bits, storage, symmetric));
        specs.push_back(specs.back());
        specs.back().partition.granularity = Granularity::kGroup;
        specs.back().partition.group_size = 32;
        specs.push_back(specs.back());
        specs.back().partition.granularity = Granularity::kTensor;
        specs.push_back(specs[specs.size() - 2]);
        specs.back().solve.solver = Solver::kGptq;
        specs.back().solve.order = Order::kActOrder;
        specs.back().solve.timing = GroupTiming::kDynamic;
      }
    }
  }
  int compared = 0;
  for (const Layout* layout : AllLayouts()) {
    for (const Spec& spec : specs) {
      for (const auto& [m, n] : {std::pair<int64_t, int64_t>{64, 96}, {37, 50}}) {
        if (!layout->Accepts(spec, m, n).ok()) continue;
        if (spec.solve.timing == GroupTiming::kDynamic && n % 32 != 0) continue;
        const PatternWeight weight = PatternCoded(spec, m, n, m * 100 + spec.levels.bits);
        const Coded& coded = weight.coded;
        const auto packed = PackWhole(*layout, spec, weight);
        const auto w =
            DecodeIndependently(layout->name(), {"m", m, n, spec, {}}, ViewsOf(packed), 3, m - 3);
        ASSERT_TRUE(w.ok()) << w.status();
        ASSERT_EQ(w->size(), (m - 3) * n);
        for (int64_t r = 3; r < m; ++r) {
          for (int64_t k = 0; k < n; ++k) {
            const int64_t at = r * coded.groups + coded.GroupOf(k);
            const float expected =
                static_cast<float>(coded.codes[r * n + k] - coded.zeros[at]) * coded.scales[at];
            ASSERT_EQ((*w)[(r - 3) * n + k], expected)
                << layout->name() << " bits " << spec.levels.bits << " row " << r << " col " << k;
          }
        }
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 150);
}

// Every axis on its own, as far as a layout takes it.
std::vector<std::pair<std::string, Spec>> Axes() {
  std::vector<std::pair<std::string, Spec>> out;
  const auto add = [&out](const char* name, const std::function<void(Spec*)>& change) {
    Spec spec = GroupSpec(32);
    change(&spec);
    out.emplace_back(name, spec);
  };
  const auto asymmetric = [](Spec* s) { s->levels.symmetry = Symmetry::kAsymmetric; };
  const auto real_zero = [&](Spec* s) {
    asymmetric(s);
    s->levels.zero = ZeroPoint::kReal;
  };
  add("real zero", real_zero);
  add("per-IC", [&](Spec* s) {
    asymmetric(s);
    s->partition.axis = GroupAxis::kIn;
  });
  add("per-IC, short last group", [&](Spec* s) {
    s->partition.axis = GroupAxis::kIn;
    s->partition.group_size = 40;
    s->partition.tail = TailPolicy::kShortLastGroup;
  });
  add("per column", [](Spec* s) { s->partition.granularity = Granularity::kColumn; });
  for (NumberFormat format : {NumberFormat::kE2M1, NumberFormat::kE4M3, NumberFormat::kE5M2,
                              NumberFormat::kE3M2, NumberFormat::kE2M3}) {
    for (StorageKind storage : {StorageKind::kF32, StorageKind::kE8M0, StorageKind::kE4M3}) {
      for (int64_t group : {16, 32, 0}) {
        add("minifloat", [&](Spec* s) {
          s->levels.kind = LevelKind::kMinifloat;
          s->levels.format = format;
          s->levels.bits = s->levels.fixed_bits();
          s->storage.kind = storage;
          s->partition.group_size = group;
          if (group == 0) s->partition.granularity = Granularity::kRow;
        });
      }
    }
  }
  for (FixedTable table : {FixedTable::kNf4, FixedTable::kFp4}) {
    for (StorageKind storage : {StorageKind::kF32, StorageKind::kNested}) {
      add("fixed table", [&](Spec* s) {
        s->levels.kind = LevelKind::kFixedTable;
        s->levels.table = table;
        s->storage.kind = storage;
        s->partition.group_size = 64;
      });
    }
  }
  for (int bits : {2, 3, 4}) {
    for (Granularity granularity :
         {Granularity::kTensor, Granularity::kRow, Granularity::kGroup, Granularity::kColumn}) {
      add("learned table", [&](Spec* s) {
        s->levels = {LevelKind::kLearnedTable, bits};
        s->fit.kind = FitKind::kKMeans;
        s->partition.granularity = granularity;
      });
    }
    add("binary coding", [&](Spec* s) {
      s->levels = {LevelKind::kBinaryCoding, bits};
      s->fit.kind = FitKind::kBinarySearch;
    });
  }
  add("column bits", [](Spec* s) {
    s->levels = {LevelKind::kLearnedTable, 2};
    s->fit.kind = FitKind::kKMeans;
    s->partition.granularity = Granularity::kColumn;
    s->allocation.kind = AllocationKind::kColumnScore;
  });
  add("clusters", [](Spec* s) { s->levels = {LevelKind::kCluster, 3}; });
  add("mxint", [](Spec* s) {
    s->levels.bits = 8;
    s->storage.kind = StorageKind::kE8M0;
  });
  add("int storage", [&](Spec* s) {
    real_zero(s);
    s->levels.bits = 3;
    s->partition.group_size = 16;
    s->storage.kind = StorageKind::kInt;
  });
  for (OutlierKind kind : {OutlierKind::kRange, OutlierKind::kColumnShare}) {
    add("outliers", [&](Spec* s) {
      s->exceptions.outliers = kind;
      s->exceptions.share = 0.02;
      s->exceptions.second_share = 0.05;
      s->exceptions.column_share = 0.1;
    });
  }
  add("kept columns", [](Spec* s) { s->exceptions.kept_columns = 0.05; });
  add("recent rows", [](Spec* s) { s->exceptions.recent_rows = 5; });
  add("column scale", [](Spec* s) { s->transform.scaling = ScalingKind::kAwq; });
  add("int8 rows", [](Spec* s) {
    s->levels.bits = 8;
    s->partition.granularity = Granularity::kRow;
  });
  for (const auto& [books, bits, og, ig] : {std::array{1, 8, 1, 8},
                                            {2, 8, 1, 8},
                                            {3, 5, 2, 8},
                                            {1, 12, 1, 4},
                                            {4, 2, 16, 16},
                                            {1, 16, 2, 1},
                                            {2, 1, 4, 2},
                                            {16, 3, 8, 32},
                                            {2, 9, 5, 5}}) {
    const Spec additive = AdditiveSpec(books, bits, og, ig);
    add("additive", [&](Spec* s) { *s = additive; });
    add("additive, scaled columns", [&](Spec* s) {
      *s = additive;
      s->transform.scaling = ScalingKind::kAwq;
    });
    for (int scale_bits : {0, 2, 3, 8}) {
      add("additive, scales of patches", [&, ig = ig](Spec* s) {
        *s = additive;
        s->partition.granularity = Granularity::kGroup;
        s->partition.group_size = ig;
        if (scale_bits == 0) return;
        s->storage.kind = StorageKind::kTable;
        s->storage.bits = scale_bits;
      });
    }
  }
  Spec spqr;
  for (const auto& [name, spec] : out) {
    if (name == "int storage") spqr = spec;
  }
  spqr.exceptions.outliers = OutlierKind::kThreshold;
  spqr.solve = {Solver::kGptq, Order::kActOrder, GroupTiming::kDynamic, Factorization::kCholesky};
  out.emplace_back("spqr", spqr);
  return out;
}

// The packers' own inverse, turned into numbers by levels/.
std::vector<float> DecodeByLayout(const Layout& layout, const Spec& spec, int64_t m, int64_t n,
                                  const std::vector<PackedView>& views) {
  const auto shared = layout.UnpackShared(spec, m, n, views);
  EXPECT_TRUE(shared.ok()) << shared.status();
  if (!shared.ok()) return {};
  Coded coded;
  const absl::Status unpacked = layout.UnpackRows(spec, m, n, views, *shared, 0, m, &coded);
  EXPECT_TRUE(unpacked.ok()) << unpacked;
  std::vector<float> out(m * n);
  if (unpacked.ok()) Decode(coded, out.data());
  for (int64_t i = 0; i < m * n && !shared->column_scale.empty(); ++i) {
    out[i] /= shared->column_scale[i % n];
  }
  return out;
}

TEST(DecodeIndependently, AgreesWithTheLevelsOnEveryAxis) {
  std::map<std::string, int> compared;
  for (const Layout* layout : AllLayouts()) {
    for (const auto& [name, spec] : Axes()) {
      for (const auto& [m, n] :
           {std::pair<int64_t, int64_t>{64, 96}, {96, 64}, {80, 65}, {64, 128}}) {
        if (!layout->Accepts(spec, m, n).ok()) continue;
        const auto packed = PackWhole(*layout, spec, PatternCoded(spec, m, n, 7 * m + n));
        const std::vector<PackedView> views = ViewsOf(packed);
        const std::vector<float> expected = DecodeByLayout(*layout, spec, m, n, views);
        const auto w = DecodeIndependently(layout->name(), {"m", m, n, spec, {}}, views, 0, m);
        ASSERT_TRUE(w.ok()) << layout->name() << " " << name << ": " << w.status();
        ASSERT_EQ(w->size(), expected.size());
        for (size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR((*w)[i], expected[i], 2e-6 * std::abs(expected[i]))
              << layout->name() << " " << name << " row " << i / n << " column " << i % n;
        }
        ++compared[std::string(layout->name())];
        ++compared[name];
      }
    }
  }
  for (const Layout* layout : AllLayouts()) {
    EXPECT_GT(compared[std::string(layout->name())], 0) << layout->name();
  }
  for (const auto& [name, spec] : Axes()) EXPECT_GT(compared[name], 0) << name;
}

TEST(DecodeIndependently, TakesRotationsBack) {
  for (RotationKind kind : {RotationKind::kInput, RotationKind::kBoth}) {
    Spec spec = GroupSpec(32);
    spec.transform.rotation = kind;
    const Layout& plain = **FindLayout("plain");
    const int64_t m = 48, n = 96;
    const PatternWeight weight = PatternCoded(spec, m, n, 5);
    const auto packed = PackWhole(plain, spec, weight);
    std::vector<float> expected = DecodeByLayout(plain, spec, m, n, ViewsOf(packed));
    const Rotation inputs{32, weight.shared->input_signs};
    UnrotateRows(inputs, expected.data(), m, n);
    if (kind == RotationKind::kBoth) {
      const Rotation outputs{16, weight.shared->output_signs};
      UnrotateStripe(outputs, 0, expected.data(), m, n);
    }
    // A part that begins and ends inside blocks of rows.
    const auto w = DecodeIndependently("plain", {"m", m, n, spec, {}}, ViewsOf(packed), 5, 30);
    ASSERT_TRUE(w.ok()) << w.status();
    ASSERT_EQ(w->size(), 30 * n);
    for (int64_t i = 0; i < 30 * n; ++i) {
      ASSERT_NEAR((*w)[i], expected[5 * n + i], 1e-4) << "row " << 5 + i / n;
    }
  }
}

TEST(DecodeIndependently, PutsStridedRowsBackInTheirOrder) {
  Spec spec = GroupSpec(16);
  spec.partition.axis = GroupAxis::kIn;
  spec.partition.strided = true;
  const Layout& plain = **FindLayout("plain");
  const int64_t m = 64, n = 40;
  const auto packed = PackWhole(plain, spec, PatternCoded(spec, m, n, 6));
  const std::vector<float> stored = DecodeByLayout(plain, spec, m, n, ViewsOf(packed));
  const auto w = DecodeIndependently("plain", {"m", m, n, spec, {}}, ViewsOf(packed), 0, m);
  ASSERT_TRUE(w.ok()) << w.status();
  for (int64_t k = 0; k < m; ++k) {
    const int64_t row = k % 16 * (m / 16) + k / 16;
    for (int64_t j = 0; j < n; ++j) ASSERT_EQ((*w)[row * n + j], stored[k * n + j]) << k;
  }
}

// formats.md: example 4.5 (a), and the same row in the documents' E8M0 block of 4.7.
TEST(DecodeIndependently, ReadsTheDocumentedFloatBlocks) {
  Spec spec = GroupSpec(16);
  spec.levels = {LevelKind::kMinifloat, 4};
  spec.storage.kind = StorageKind::kE4M3;
  const std::string packed = "\x10\x29\x3A\x4B\x5C\x6D\x7E\x0F";
  const std::string global("\0\0\x60\x43", 4);  // 224
  const auto nvfp4 =
      DecodeIndependently("nvfp4-pack-quantized", {"m", 1, 16, spec, {}},
                          {{{".weight_packed", DType::kU8, {1, 8}}, AsBytes(packed)},
                           {{".weight_scale", DType::kF8E4M3, {1, 1}}, AsBytes("\x76")},
                           {{".weight_global_scale", DType::kF32, {1}}, AsBytes(global)}},
                          0, 1);
  ASSERT_TRUE(nvfp4.ok()) << nvfp4.status();
  EXPECT_THAT(*nvfp4, ElementsAre(0, .5f, -.5f, 1, -1, 1.5f, -1.5f, 2, -2, 3, -3, 4, -4, 6, -6, 0));

  spec.partition.group_size = 32;
  spec.storage.kind = StorageKind::kE8M0;
  const std::string block =
      "\xEE\xDE\xDD\xCC\xCC\xAB\xAA\x89" + std::string("\x00\x21\x22\x43\x44\x54\x55\x66", 8);
  const auto mxfp4 = DecodeIndependently("mxfp4-pack-quantized", {"m", 1, 32, spec, {}},
                                         {{{".weight_packed", DType::kU8, {1, 16}}, AsBytes(block)},
                                          {{".weight_scale", DType::kU8, {1, 1}}, AsBytes("\x7F")}},
                                         0, 1);
  ASSERT_TRUE(mxfp4.ok()) << mxfp4.status();
  EXPECT_EQ((*mxfp4)[0], -4);
  EXPECT_EQ((*mxfp4)[14], -0.5f);
  EXPECT_EQ((*mxfp4)[18], 0.5f);
  EXPECT_EQ((*mxfp4)[31], 4);
}

// formats.md 8.3: nested absmax.
TEST(DecodeIndependently, ReadsTheDocumentedNestedScales) {
  Spec spec = GroupSpec(64);
  spec.levels.kind = LevelKind::kFixedTable;
  spec.storage.kind = StorageKind::kNested;
  const Layout& layout = **FindLayout("bitsandbytes");
  auto packed = PackWhole(layout, spec, PatternCoded(spec, 4, 64, 3));
  const auto set = [&](absl::string_view suffix, const std::string& bytes) {
    for (PackedTensor& t : packed) {
      if (t.decl.suffix == suffix) std::memcpy(t.bytes.data(), bytes.data(), bytes.size());
    }
  };
  set(".weight", std::string(4 * 64 / 2, '\xFF'));  // every code is 15: the level 1
  set(".weight.absmax", "\xFF\xB0\x29\x19");
  set(".weight.nested_absmax", std::string("\0\0\x88\x3F", 4));  // 1.0625
  const auto w = DecodeIndependently("bitsandbytes", {"m", 4, 64, spec, {}}, ViewsOf(packed), 0, 4);
  ASSERT_TRUE(w.ok()) << w.status();
  // The example's offset is 0.9375; the pattern's is 0.5.
  const float shift = 0.5f - 0.9375f;
  EXPECT_NEAR((*w)[0], 2 + shift, 1e-5);
  EXPECT_NEAR((*w)[64], 1.00042 + shift, 1e-5);
  EXPECT_NEAR((*w)[128], 0.495068 + shift, 1e-5);
  EXPECT_NEAR((*w)[192], 0.256006 + shift, 1e-5);
}

// formats.md 10: one tile, an outlier and a permutation.
TEST(DecodeIndependently, ReadsTheDocumentedSpqrTile) {
  Spec spec = GroupSpec(16);
  spec.levels.bits = 3;
  const uint8_t second[8] = {0x00, 0x34, 0x00, 0x3C, 0x00, 0x40, 0x00, 0x38};
  // 0x380040003C003400, lowest byte first.
  std::string words;
  for (int r = 0; r < 16; ++r) {
    uint64_t word = 0x003EB1A23EB1A225u & ~(uint64_t{0xFF} << 54);
    word |= uint64_t{second[r / 2]} << 54;
    for (int b = 0; b < 8; ++b) words.push_back(static_cast<char>(word >> (8 * b)));
  }
  std::string offsets(17 * 4, '\0');
  for (int r = 1; r <= 16; ++r) offsets[4 * r] = 1;  // the one outlier is in row 0
  const std::string outlier("\x07\0\0\x3E", 4);
  std::string order;
  for (int p = 0; p < 16; ++p) {  // stored column p is column 15 - p
    order.push_back(static_cast<char>(15 - p));
    order.push_back('\0');
  }
  const auto w = DecodeIndependently("spqr", {"m", 16, 16, spec, {}},
                                     {{{".dense_weights", DType::kI64, {16}}, AsBytes(words)},
                                      {{".row_offsets", DType::kI32, {17}}, AsBytes(offsets)},
                                      {{".col_vals", DType::kI32, {1}}, AsBytes(outlier)},
                                      {{".in_perm", DType::kI32, {8}}, AsBytes(order)}},
                                     0, 16);
  ASSERT_TRUE(w.ok()) << w.status();
  for (int r = 0; r < 16; ++r) {
    for (int p = 0; p < 16; ++p) {
      const float base = -2.625f + 0.75f * static_cast<float>(p % 8);
      const float expected = r == 0 && p == 7 ? base + 1.5f : base;
      EXPECT_EQ((*w)[r * 16 + 15 - p], expected) << "row " << r << " stored column " << p;
    }
  }
}

// formats.md 7: two codebooks of two entries, one row, two patches.
TEST(DecodeIndependently, ReadsTheDocumentedAqlmPatches) {
  const Spec spec = AdditiveSpec(2, 1);
  std::string books;
  const auto add = [&books](std::initializer_list<int> halves) {
    for (const int half : halves) {
      books.push_back(static_cast<char>(half & 0xFF));
      books.push_back(static_cast<char>(half >> 8));
    }
  };
  add({0x3C00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800});  // 1 2 ... 8
  add({0x3800, 0x3800, 0x3800, 0x3800, 0x3800, 0x3800, 0x3800, 0x3800});  // 0.5
  add({0, 0, 0, 0, 0, 0, 0, 0});
  add({0xBC00, 0, 0x3C00, 0, 0xBC00, 0, 0x3C00, 0});  // -1 0 1 0 ...
  const std::string scale("\0\x40", 2);
  const std::string wrapped("\0\xFF\xFF\0", 4);  // codes 0 1, 1 0 of one bit
  const auto aqlm =
      DecodeIndependently("aqlm", {"m", 1, 16, spec, {}},
                          {{{".codes", DType::kI8, {1, 2, 2}}, AsBytes(wrapped)},
                           {{".codebooks", DType::kF16, {2, 2, 1, 8}}, AsBytes(books)},
                           {{".scales", DType::kF16, {1, 1, 1, 1}}, AsBytes(scale)}},
                          0, 1);
  ASSERT_TRUE(aqlm.ok()) << aqlm.status();
  const auto documented = ElementsAre(0, 4, 8, 8, 8, 12, 16, 16, 1, 1, 1, 1, 1, 1, 1, 1);
  EXPECT_THAT(*aqlm, documented);
  const auto plain =
      DecodeIndependently("plain", {"m", 1, 16, spec, {}},
                          {{{".codes", DType::kU8, {1, 1}}, AsBytes("\x06")},
                           {{".codebooks", DType::kF16, {2, 2, 1, 8}}, AsBytes(books)},
                           {{".scales", DType::kF16, {1, 1}}, AsBytes(scale)}},
                          0, 1);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_THAT(*plain, documented);
}

// The wrap at its edges: the value of an entry is its own number.
TEST(DecodeIndependently, TakesSignedAqlmCodesModuloTheCodebook) {
  const auto decode = [](int bits, DType dtype, const std::string& codes) {
    const Spec spec = AdditiveSpec(1, bits, 1, 1);
    const int64_t n = static_cast<int64_t>(codes.size() / DTypeBytes(dtype));
    std::string books;
    for (int64_t i = 0; i < spec.levels.entries(); ++i) {
      // Distinct numbers: the bits of the entry's own index, those of NaN and infinity left out.
      const int64_t half = i % 0x7C00 | (i / 0x7C00 != 0 ? 0x8000 : 0);
      books.push_back(static_cast<char>(half & 0xFF));
      books.push_back(static_cast<char>(half >> 8));
    }
    const std::string scale("\0\x3C", 2);
    return DecodeIndependently(
        "aqlm", {"m", 1, n, spec, {}},
        {{{".codes", dtype, {1, n, 1}}, AsBytes(codes)},
         {{".codebooks", DType::kF16, {1, spec.levels.entries(), 1, 1}}, AsBytes(books)},
         {{".scales", DType::kF16, {1, 1, 1, 1}}, AsBytes(scale)}},
        0, 1);
  };
  const auto half = [](int bits) { return FromF16(static_cast<uint16_t>(bits)); };
  auto w = decode(8, DType::kI8, std::string("\x00\x7F\x80\xFF", 4));
  ASSERT_TRUE(w.ok()) << w.status();
  EXPECT_THAT(*w, ElementsAre(half(0), half(127), half(128), half(255)));
  w = decode(16, DType::kI16, std::string("\x00\x00\x01\x00\xFF\x7F\x00\x80\x40\x9C\xFF\xFF", 12));
  ASSERT_TRUE(w.ok()) << w.status();
  const auto entry = [&](int i) { return half(i % 0x7C00 | (i >= 0x7C00 ? 0x8000 : 0)); };
  EXPECT_THAT(
      *w, ElementsAre(entry(0), entry(1), entry(32767), entry(32768), entry(40000), entry(65535)));
  w = decode(5, DType::kI8, "\x0F\xF0");
  ASSERT_TRUE(w.ok()) << w.status();
  EXPECT_THAT(*w, ElementsAre(half(15), half(16)));
  for (const char* bad : {"\x0F\x10", "\x0F\xEF"}) {
    EXPECT_THAT(std::string(decode(5, DType::kI8, bad).status().message()),
                HasSubstr("'m.codes': element 1 is no number of 5 bits"));
  }
}

TEST(DecodeIndependently, RefusesAdditiveCountsThatDoNotFit) {
  const Layout& aqlm = **FindLayout("aqlm");
  const Spec good = AdditiveSpec(2, 4, 2, 8);
  const auto packed = PackWhole(aqlm, good, PatternCoded(good, 32, 64, 1));
  for (const char* layout : {"aqlm", "plain"}) {
    for (int Levels::*count :
         {&Levels::codebooks, &Levels::codebook_bits, &Levels::out_group, &Levels::in_group}) {
      for (int bad : {0, -1, 17}) {
        Spec spec = good;
        spec.levels.*count = bad;
        const auto w = DecodeIndependently(layout, {"m", 32, 64, spec, {}}, ViewsOf(packed), 0, 32);
        EXPECT_THAT(std::string(w.status().message()), HasSubstr("'m.code")) << layout << bad;
      }
    }
  }
}

TEST(DecodeIndependently, RefusesTensorsThatDoNotFollowTheFormat) {
  const Spec spec = GroupSpec(32);
  const Layout& layout = **FindLayout("gptq");
  const auto packed = PackWhole(layout, spec, PatternCoded(spec, 32, 64, 1));
  const ConfigModule module{"m", 32, 64, spec, {}};
  const auto expect = [&](std::vector<PackedView> views, const std::string& message) {
    const auto w = DecodeIndependently("gptq", module, views, 0, 32);
    ASSERT_FALSE(w.ok()) << message;
    EXPECT_THAT(std::string(w.status().message()), HasSubstr(message));
  };
  const std::vector<PackedView> good = ViewsOf(packed);
  ASSERT_TRUE(DecodeIndependently("gptq", module, good, 0, 32).ok());
  auto views = good;
  views.erase(views.begin());
  expect(views, "'m.qweight': is missing");
  views = good;
  views[2].decl.dtype = DType::kBF16;
  expect(views, "'m.scales': is BF16[2, 32], expected F16[2, 32]");
  views = good;
  views[1].bytes.remove_suffix(1);
  expect(views, "'m.qzeros': has");
  std::string index(64 * 4, '\0');
  index[4 * 9] = 2;
  views = good;
  views[3].bytes = AsBytes(index);
  expect(views, "'m.g_idx': entry 9 is 2, expected 0 to 1");
  EXPECT_FALSE(DecodeIndependently("gptq", module, good, 1, 32).ok());
  EXPECT_FALSE(DecodeIndependently("awq", module, good, 0, 32).ok());
}

}  // namespace
}  // namespace quantd
