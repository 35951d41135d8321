// The slow decoder against worked examples of the format documents, and against the packers.
#include "client/files/independent_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/client/files/planned_run.h"

namespace quantd {
namespace {

using ::quantd::testing::AsBytes;
using ::quantd::testing::GroupSpec;
using ::quantd::testing::PackWhole;
using ::quantd::testing::PatternCoded;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Spec Rows(int bits, DType scale_dtype, bool symmetric) {
  Spec spec = GroupSpec(0);
  spec.partition.granularity = Granularity::kRow;
  spec.levels.bits = bits;
  spec.levels.symmetry = symmetric ? Symmetry::kSymmetricMinMax : Symmetry::kAsymmetric;
  spec.scale_dtype = scale_dtype;
  return spec;
}

TEST(DecodeIndependently, ReadsTheDocumentedCompressedTensorsWord) {
  const std::string packed = "\x0F\x59\xC8\xA6";
  const std::string scale("\x00\x30", 2);  // 0.125 as F16
  const std::string shape("\1\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0", 16);
  const auto w = DecodeIndependently("compressed-tensors", {"m", 1, 8, Rows(4, DType::kF16, true)},
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
      DecodeIndependently("compressed-tensors", {"m", 8, 1, Rows(4, DType::kBF16, false)},
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
  const Spec spec = Rows(4, DType::kF32, false);
  const std::string qweight(8 * 4, '\0');
  std::string scales;
  for (int r = 0; r < 8; ++r) scales += std::string("\0\0\x80\x3F", 4);
  const std::string g_idx(8 * 4, '\0');
  for (const auto& [layout, word] :
       {std::pair<const char*, std::string>{"gptq-v2", "\x70\x39\x1C\x8F"},
        std::pair<const char*, std::string>{"gptq", "\x6F\x28\x0B\x7E"}}) {
    const auto w = DecodeIndependently(layout, {"m", 8, 8, spec},
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
      for (DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
        specs.push_back(Rows(bits, dtype, symmetric));
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
        const Coded coded = PatternCoded(spec, m, n, m * 100 + spec.levels.bits);
        const auto packed = PackWhole(*layout, spec, coded);
        const auto w =
            DecodeIndependently(layout->name(), {"m", m, n, spec}, ViewsOf(packed), 3, m - 3);
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

TEST(DecodeIndependently, RefusesTensorsThatDoNotFollowTheFormat) {
  const Spec spec = GroupSpec(32);
  const Layout& layout = **FindLayout("gptq");
  const auto packed = PackWhole(layout, spec, PatternCoded(spec, 32, 64, 1));
  const ConfigModule module{"m", 32, 64, spec};
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
