#include "workers/fit/second_level.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/reference/rtn_inputs.h"
#include "tests/reference/rtn_reference.h"
#include "workers/core/dynamic_map.h"
#include "workers/core/float16.h"
#include "workers/fit/fit.h"
#include "workers/fit/storage.h"

namespace quantd {
namespace {

using reference::Gaussian;
using reference::RtnInput;

// ---- kNested ------------------------------------------------------------------------------------

Spec NestedNf4(int64_t group) {
  Spec spec;
  spec.levels.kind = LevelKind::kFixedTable;
  spec.storage.kind = StorageKind::kNested;
  spec.partition.group_size = group;
  return spec;
}

Coded FitNested(const Spec& spec, const std::vector<float>& w, int64_t rows, int64_t cols) {
  TensorStorage storage(spec);
  storage.Merge(storage.Look(w.data(), rows, cols));
  FitContext context;
  context.scale_offset = storage.scale_offset();
  Coded out;
  out.Reshape(spec, 0, rows, rows, cols, nullptr);
  FitRows(spec, w.data(), context, &out);
  return out;
}

TEST(DynamicMapTest, HasTheKnownEntries) {
  const auto& map = DynamicMap();
  EXPECT_FLOAT_EQ(map[0], -0.99296874f);
  EXPECT_EQ(map[127], 0.0f);
  EXPECT_EQ(map[255], 1.0f);
  EXPECT_FLOAT_EQ(map[254], 0.99296874f);
  EXPECT_FLOAT_EQ(map[128], 5.5e-7f) << "the mean of 0.1 and 1, times 10^-6";
  EXPECT_TRUE(std::is_sorted(map.begin(), map.end()));
  EXPECT_EQ(std::adjacent_find(map.begin(), map.end()), map.end());
  for (int i = 1; i < 127; ++i) EXPECT_EQ(map[127 - i], -map[127 + i]);
}

TEST(NestedTest, TheExampleOfTheBitsandbytesFormat) {
  // Four blocks of 64 whose largest magnitudes are 2, 1, 0.5, 0.25.
  std::vector<float> w(256);
  for (int i = 0; i < 4; ++i) w[i * 64] = std::ldexp(i % 2 == 0 ? 2.0f : -2.0f, -i);
  TensorStorage storage(NestedNf4(64));
  storage.Merge(storage.Look(w.data(), 1, 256));
  EXPECT_EQ(storage.scale_offset(), 0.9375f);
  const Coded out = FitNested(NestedNf4(64), w, 1, 256);
  EXPECT_EQ(out.scale_codes, (std::vector<uint8_t>{0xFF, 0xB0, 0x29, 0x19}));
  EXPECT_EQ(out.super, std::vector<float>{1.0625f});
  const float decoded[] = {2.0f, 1.00042f, 0.495068f, 0.256006f};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(out.scales[i], decoded[i], 1e-5);
}

TEST(NestedTest, EveryScaleIsTheNearestOneThatItsRunOffers) {
  const int64_t rows = 64, cols = 75;  // 5 groups per row: runs cross rows, the last is short
  const RtnInput input = Gaussian(rows, cols, 0.05f, 41);
  const Spec spec = NestedNf4(16);
  const Coded out = FitNested(spec, input.values, rows, cols);
  ASSERT_EQ(out.super.size(), 2u);
  double mean = 0;
  std::vector<float> raw;
  for (int64_t k = 0; k < rows * 5; ++k) {
    const float* values = &input.values[k / 5 * cols + k % 5 * 16];
    float amax = 0;
    for (int64_t i = 0; i < (k % 5 == 4 ? 11 : 16); ++i) {
      amax = std::max(amax, std::fabs(values[i]));
    }
    raw.push_back(amax);
    mean += amax;
  }
  const float offset = static_cast<float>(mean / raw.size());
  for (size_t k = 0; k < raw.size(); ++k) {
    const float largest = out.super[k / 256];
    EXPECT_EQ(out.scales[k], DynamicMap()[out.scale_codes[k]] * largest + offset);
    float least = std::numeric_limits<float>::infinity();
    for (const float entry : DynamicMap()) {
      least = std::min(least, std::fabs(entry * largest + offset - raw[k]));
    }
    EXPECT_NEAR(std::fabs(out.scales[k] - raw[k]), least, 1e-8);
    EXPECT_LE(std::fabs(raw[k] - offset), largest);
  }
}

TEST(NestedTest, StripesOf256RowsGiveTheSameCodes) {
  const int64_t cols = 48;
  const RtnInput input = Gaussian(512, cols, 0.05f, 42);
  const Spec spec = NestedNf4(16);
  const Coded whole = FitNested(spec, input.values, 512, cols);
  TensorStorage storage(spec);
  for (int64_t r = 0; r < 512; r += 256) {
    storage.Merge(storage.Look(&input.values[r * cols], 256, cols));
  }
  std::vector<uint8_t> codes;
  for (int64_t r = 0; r < 512; r += 256) {
    FitContext context;
    context.scale_offset = storage.scale_offset();
    Coded out;
    out.Reshape(spec, r, 256, 512, cols, nullptr);
    FitRows(spec, &input.values[r * cols], context, &out);
    codes.insert(codes.end(), out.scale_codes.begin(), out.scale_codes.end());
  }
  EXPECT_EQ(codes, whole.scale_codes);
}

TEST(NestedTest, ZerosDoNotWidenARunAndNoScaleIsZero) {
  std::vector<float> w(64 * 8);
  for (int i = 0; i < 8; ++i) {
    if (i % 3 != 0) w[i * 64] = i == 4 ? 100.0f : 0.01f;
  }
  const Coded out = FitNested(NestedNf4(64), w, 1, 512);
  for (const float s : out.scales) EXPECT_GE(s, 0x1p-126f);
  const Coded zeros = FitNested(NestedNf4(64), std::vector<float>(512), 1, 512);
  for (const float s : zeros.scales) EXPECT_EQ(s, 1.0f);
  w[4 * 64] = 0.011f;
  const Coded calm = FitNested(NestedNf4(64), w, 1, 512);
  EXPECT_LT(calm.super[0], 0.001f);
}

// ---- kInt ---------------------------------------------------------------------------------------

Spec Spqr(int bits) {
  Spec spec;
  spec.levels.bits = bits;
  spec.levels.symmetry = Symmetry::kAsymmetric;
  spec.levels.zero = ZeroPoint::kReal;
  spec.storage.kind = StorageKind::kInt;
  spec.storage.bits = 3;
  spec.storage.super_group = 16;
  spec.partition.group_size = 16;
  return spec;
}

Coded FitSpqr(const Spec& spec, const std::vector<float>& w, int64_t rows, int64_t cols) {
  Coded out;
  out.Reshape(spec, 0, rows, rows, cols, nullptr);
  FitRows(spec, w.data(), {}, &out);
  return out;
}

TEST(IntStorageTest, EqualsASlowReference) {
  const int64_t rows = 40, cols = 40;  // a short last run of 8 rows, a short last group of 8
  const RtnInput input = Gaussian(rows, cols, 0.05f, 51);
  const Spec spec = Spqr(3);
  Spec plain = spec;
  plain.storage.kind = StorageKind::kF32;
  const Coded out = FitSpqr(spec, input.values, rows, cols);
  ASSERT_EQ(out.super.size(), 3u * 3 * 4);
  const auto f16 = [](double v) { return double{FromF16(ToF16(static_cast<float>(v)))}; };
  for (int64_t g = 0; g < 3; ++g) {
    for (int64_t begin = 0; begin < rows; begin += 16) {
      const int64_t end = std::min(rows, begin + 16);
      std::vector<double> scale, lo;
      for (int64_t r = begin; r < end; ++r) {
        const auto fit =
            reference::FitValues(plain, &input.values[r * cols + g * 16], g == 2 ? 8 : 16);
        scale.push_back(fit.scale);
        lo.push_back(double{-fit.real_zero} * fit.scale);
      }
      const float* super = &out.super[(begin / 16 * 3 + g) * 4];
      const auto [least, most] = std::minmax_element(scale.begin(), scale.end());
      const double step = f16((*most - *least) / 7), zero = f16(-*least / step);
      EXPECT_EQ(super[0], step);
      EXPECT_EQ(super[1], zero);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t at = r * 3 + g;
        const double wanted = scale[r - begin];
        EXPECT_EQ(out.scales[at], super[0] * (out.scale_codes[at] - super[1]));
        EXPECT_LE(out.scale_codes[at], 7);
        EXPECT_NEAR(out.scales[at], wanted, step * 0.502 + *most * 0x1p-10);
        EXPECT_EQ(out.real_zeros[at], super[2] * (out.zero_codes[at] - super[3]));
        EXPECT_LE(out.zero_codes[at], 7);
        const double z = -lo[r - begin] / out.scales[at];
        EXPECT_NEAR(out.real_zeros[at], z, super[2] * 0.502 + 0.01);
      }
    }
  }
}

TEST(IntStorageTest, EqualScalesAndZerosSurviveToF16Precision) {
  std::vector<float> w(32 * 16);
  for (size_t i = 0; i < w.size(); ++i) w[i] = 0.003f * static_cast<float>(i % 16) - 0.0101f;
  const Coded out = FitSpqr(Spqr(4), w, 32, 16);
  for (size_t k = 0; k < out.scales.size(); ++k) {
    EXPECT_NEAR(out.scales[k] / 0.003f, 1.0, 1e-3);
    EXPECT_NEAR(out.real_zeros[k], 0.0101 / out.scales[k], 4e-3);
  }
}

TEST(IntStorageTest, EveryScaleIsPositiveOnEveryInput) {
  for (const int64_t super_group : {1, 16}) {
    Spec spec = Spqr(3);
    spec.storage.super_group = static_cast<int>(super_group);
    for (const RtnInput& input : reference::RtnInputs(33, 40)) {
      const Coded out = FitSpqr(spec, input.values, 33, 40);
      for (size_t k = 0; k < out.scales.size(); ++k) {
        EXPECT_GE(out.scales[k], 0x1p-126f) << input.name;
        EXPECT_TRUE(std::isfinite(out.scales[k])) << input.name;
        EXPECT_TRUE(std::isfinite(out.real_zeros[k])) << input.name;
      }
    }
  }
}

TEST(IntStorageTest, ZeroGroupsStayZeroAndDoNotWidenARun) {
  std::vector<float> w(16 * 16);
  for (int64_t r = 0; r < 16; r += 2) {
    for (int64_t j = 0; j < 16; ++j) w[r * 16 + j] = 0.5f + 0.01f * static_cast<float>(j + r);
  }
  const Coded out = FitSpqr(Spqr(3), w, 16, 16);
  EXPECT_LT(out.super[0], 0.02f) << "the step of the others' scales";
  for (int64_t r = 1; r < 16; r += 2) {
    const float zero = out.real_zeros[r];
    const float code = std::clamp(std::nearbyint(zero), 0.0f, 7.0f);
    EXPECT_NEAR((code - zero) * out.scales[r], 0.0f, 1e-6f);
  }
  const Coded none = FitSpqr(Spqr(3), std::vector<float>(256), 16, 16);
  for (size_t k = 0; k < none.scales.size(); ++k) {
    EXPECT_GT(none.scales[k], 0.0f);
    EXPECT_EQ(none.real_zeros[k], 4.0f);
  }
}

TEST(IntStorageTest, ReportsScalesThatTheSecondLevelCannotHold) {
  const RtnInput calm = Gaussian(16, 16, 1.0f, 1);
  std::vector<float> w = calm.values;
  w[5 * 16 + 3] = 1e9f;
  Coded out;
  out.Reshape(Spqr(3), 64, 16, 128, 16, nullptr);
  const FitFacts facts = FitRows(Spqr(3), w.data(), {}, &out);
  EXPECT_TRUE(facts.scale_overflow);
  EXPECT_EQ(facts.row, 64);
  EXPECT_EQ(facts.group, 0);
  EXPECT_FALSE(FitRows(Spqr(3), calm.values.data(), {}, &out).scale_overflow);
}

TEST(IntStorageTest, PerIcRunsGoDownTheGrid) {
  Spec spec = Spqr(3);
  spec.storage.super_group = 2;
  spec.partition.group_size = 4;
  const int64_t m = 24, n = 5;
  const RtnInput input = Gaussian(m, n, 0.1f, 61);
  spec.partition.axis = GroupAxis::kIn;
  const Coded in = FitSpqr(spec, input.values, m, n);
  EXPECT_EQ(in.param_rows, 6);
  EXPECT_EQ(in.super.size(), 3u * n * 4);
  for (int64_t k = 0; k < 6 * n; ++k) {
    const float* super = &in.super[(k / n / 2 * n + k % n) * 4];
    EXPECT_EQ(in.scales[k], super[0] * (in.scale_codes[k] - super[1]));
    EXPECT_EQ(in.real_zeros[k], super[2] * (in.zero_codes[k] - super[3]));
  }
}

}  // namespace
}  // namespace quantd
