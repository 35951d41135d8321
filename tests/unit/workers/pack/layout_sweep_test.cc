// Every layout over generated specs and shapes, against the bit-by-bit reference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/reference/pack_reference.h"
#include "tests/unit/workers/pack/layout_cases.h"
#include "tests/unit/workers/pack/samples.h"
#include "workers/pack/layout.h"

namespace quantd {
namespace {

class LayoutSweepTest : public ::testing::TestWithParam<const Layout*> {
 protected:
  const Layout& layout() const { return *GetParam(); }
  std::vector<LayoutCase> Accepted() const { return AcceptedCases(layout()); }
};

TEST_P(LayoutSweepTest, BytesEqualTheReference) {
  ASSERT_GE(Accepted().size(), 4);
  for (const LayoutCase& c : Accepted()) {
    SCOPED_TRACE(Describe(layout(), c));
    const Coded whole = RandomCoded(c.spec, c.m, c.n, 1);
    const auto want = reference::Pack(std::string(layout().name()), whole, c.spec);
    const auto have = PackWhole(layout(), c.spec, whole);
    ASSERT_EQ(want.size(), have.size());
    uint64_t bytes = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(want[i].decl.suffix, have[i].decl.suffix);
      EXPECT_EQ(want[i].decl.dtype, have[i].decl.dtype);
      EXPECT_EQ(want[i].decl.shape, have[i].decl.shape);
      ASSERT_EQ(want[i].bytes.size(), have[i].bytes.size()) << want[i].decl.suffix;
      ASSERT_TRUE(std::equal(want[i].bytes.begin(), want[i].bytes.end(), have[i].bytes.data()))
          << want[i].decl.suffix;
      bytes += have[i].bytes.size();
    }
    const uint64_t bound = PackedBytes(layout(), c.spec, c.m, c.n);
    EXPECT_GE(bound, bytes);
    if (!c.spec.exceptions.stores_outliers()) {
      EXPECT_EQ(bound, bytes);
    }
  }
}

TEST_P(LayoutSweepTest, UnpackingTheReferenceGivesTheOriginal) {
  for (const LayoutCase& c : Accepted()) {
    SCOPED_TRACE(Describe(layout(), c));
    const Coded whole = RandomCoded(c.spec, c.m, c.n, 2);
    const std::string name(layout().name());
    const auto stored = reference::Pack(name, whole, c.spec);
    // Shifted by one byte: views need not be aligned.
    std::vector<std::vector<std::byte>> shifted;
    std::vector<PackedView> views;
    for (const auto& tensor : stored) {
      shifted.emplace_back(1, std::byte{0xEE});
      shifted.back().insert(shifted.back().end(), tensor.bytes.begin(), tensor.bytes.end());
    }
    for (size_t i = 0; i < stored.size(); ++i) {
      views.push_back({stored[i].decl, absl::MakeConstSpan(shifted[i]).subspan(1)});
    }
    ASSERT_TRUE(CheckPacked(layout(), c.spec, c.m, c.n, views).ok());
    Coded have;
    const absl::Status status = UnpackWhole(layout(), c.spec, c.m, c.n, views, &have);
    ASSERT_TRUE(status.ok()) << status;
    ExpectSameCoded(whole, have);
  }
}

// Packs stripe by stripe in the given order.
std::vector<PackedTensor> PackStripes(const Layout& layout, const LayoutCase& c, const Coded& whole,
                                      const std::vector<std::pair<int64_t, int64_t>>& stripes) {
  auto tensors = AllocatePacked(layout, c.spec, c.m, c.n);
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  layout.PackShared(c.spec, c.m, c.n, *whole.shared, absl::MakeSpan(*tensors));
  for (const auto& [begin, end] : stripes) {
    layout.PackRows(StripeOf(whole, begin, end - begin), c.spec, c.m, absl::MakeSpan(*tensors));
  }
  if (c.spec.exceptions.stores_outliers()) {
    EXPECT_TRUE(layout.PackOutliers(whole.outliers, c.spec, c.m, absl::MakeSpan(*tensors)).ok());
  }
  return *std::move(tensors);
}

TEST_P(LayoutSweepTest, StripesInAnyOrderEqualOnePass) {
  std::mt19937 random(3);
  for (const LayoutCase& c : Accepted()) {
    auto stripes = StripesOf(layout(), c.spec, c.m);
    if (stripes.size() < 2) continue;
    SCOPED_TRACE(Describe(layout(), c));
    const Coded whole = RandomCoded(c.spec, c.m, c.n, 3);
    const auto want = PackWhole(layout(), c.spec, whole);
    std::shuffle(stripes.begin(), stripes.end(), random);
    const auto have = PackStripes(layout(), c, whole, stripes);
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_TRUE(Hex(want[i]) == Hex(have[i])) << want[i].decl.suffix;
    }

    const auto views = ViewsOf(want);
    const auto shared = layout().UnpackShared(c.spec, c.m, c.n, views);
    ASSERT_TRUE(shared.ok()) << shared.status();
    Coded stripe;  // one object for all stripes: nothing of the stripe before may shine through
    for (const auto& [begin, end] : stripes) {
      const absl::Status status =
          layout().UnpackRows(c.spec, c.m, c.n, views, *shared, begin, end - begin, &stripe);
      ASSERT_TRUE(status.ok()) << status;
      ExpectSameCoded(StripeOf(whole, begin, end - begin), stripe);
    }
  }
}

// The thread sanitizer watches this one.
TEST_P(LayoutSweepTest, StripesPackedAtTheSameTimeShareNoByte) {
  for (const LayoutCase& c : Accepted()) {
    const auto stripes = StripesOf(layout(), c.spec, c.m);
    if (stripes.size() < 2 || c.spec.levels.bits == 2 || c.spec.levels.bits > 4) continue;
    SCOPED_TRACE(Describe(layout(), c));
    const Coded whole = RandomCoded(c.spec, c.m, c.n, 5);
    const auto want = PackStripes(layout(), c, whole, stripes);
    auto have = AllocatePacked(layout(), c.spec, c.m, c.n);
    ASSERT_TRUE(have.ok()) << have.status();
    layout().PackShared(c.spec, c.m, c.n, *whole.shared, absl::MakeSpan(*have));
    std::vector<std::thread> threads;
    for (const auto& [begin, end] : stripes) {
      threads.emplace_back([&, stripe = StripeOf(whole, begin, end - begin)] {
        layout().PackRows(stripe, c.spec, c.m, absl::MakeSpan(*have));
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < want.size(); ++i) {
      if (layout().Declare(c.spec, c.m, c.n)[i].variable ||
          want[i].decl.suffix == ".outlier_rows" || want[i].decl.suffix == ".row_offsets") {
        continue;  // written by PackOutliers
      }
      EXPECT_TRUE(Hex(want[i]) == Hex((*have)[i])) << want[i].decl.suffix;
    }
  }
}

TEST_P(LayoutSweepTest, ArbitraryBytesGiveAnErrorOrCodesInRange) {
  std::mt19937 random(4);
  for (const LayoutCase& c : Accepted()) {
    SCOPED_TRACE(Describe(layout(), c));
    auto tensors = PackWhole(layout(), c.spec, RandomCoded(c.spec, c.m, c.n, 4));
    PackedTensor& victim = tensors[random() % tensors.size()];
    for (std::byte& b : victim.bytes.As<std::byte>()) b = static_cast<std::byte>(random());
    Coded coded;
    const absl::Status status = UnpackWhole(layout(), c.spec, c.m, c.n, ViewsOf(tensors), &coded);
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("tensor '."));
      continue;
    }
    for (uint8_t code : coded.codes) ASSERT_LE(code, coded.levels.max_code());
    for (uint16_t code : coded.book_codes) ASSERT_LT(code, coded.levels.entries());
    for (uint8_t zero : coded.zeros) ASSERT_LE(zero, coded.levels.max_code());
    for (float scale : coded.scales) ASSERT_TRUE(std::isfinite(scale));
    for (int64_t k = 0; k < c.n; ++k) {
      ASSERT_GE(coded.GroupOf(k), 0);
      ASSERT_LT(coded.GroupOf(k), coded.groups);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllLayouts, LayoutSweepTest, ::testing::ValuesIn(AllLayouts()),
                         [](const auto& info) {
                           std::string name(info.param->name());
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace quantd
