// Every layout over generated specs and shapes, against the bit-by-bit reference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/reference/pack_reference.h"
#include "tests/unit/workers/pack/samples.h"
#include "workers/pack/layout.h"

namespace quantd {
namespace {

struct Case {
  Spec spec;
  int64_t m;
  int64_t n;
};

std::string Describe(const Layout& layout, const Case& c) {
  return std::string(layout.name()) + " bits " + std::to_string(c.spec.levels.bits) + " " +
         std::string(SymmetryName(c.spec.levels.symmetry)) + " " +
         std::string(GranularityName(c.spec.partition.granularity)) + " g" +
         std::to_string(c.spec.partition.group_size) + " " + std::to_string(c.m) + "x" +
         std::to_string(c.n);
}

// All combinations of the axes that touch the bytes, over awkward and over round shapes.
std::vector<Case> AllCases() {
  std::vector<Case> cases;
  const std::pair<int64_t, int64_t> shapes[] = {{1, 1},   {3, 10},  {33, 64},
                                                {70, 40}, {32, 64}, {64, 544}};
  for (int bits = 2; bits <= 8; ++bits) {
    for (Spec spec : {GroupSpec(bits, 32), GroupSpec(bits, 5), RowSpec(bits), TensorSpec(bits)}) {
      for (Symmetry symmetry : {Symmetry::kSymmetricMinMax, Symmetry::kAsymmetric}) {
        for (DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
          spec.levels.symmetry = symmetry;
          spec.scale_dtype = dtype;
          for (auto [m, n] : shapes) {
            // The reference is slow, and only wide rows of codes need a large shape.
            const bool large = m * n > 3000;
            if (large && (dtype != DType::kF16 || spec.partition.group_size != 32)) continue;
            cases.push_back({spec, m, n});
            if (dtype == DType::kF16 && !large) cases.push_back({DynamicActOrder(spec), m, n});
          }
        }
      }
    }
  }
  return cases;
}

class LayoutSweepTest : public ::testing::TestWithParam<const Layout*> {
 protected:
  const Layout& layout() const { return *GetParam(); }

  std::vector<Case> Accepted() const {
    std::vector<Case> accepted;
    for (const Case& c : AllCases()) {
      if (layout().Accepts(c.spec, c.m, c.n).ok()) accepted.push_back(c);
    }
    return accepted;
  }
};

TEST_P(LayoutSweepTest, BytesEqualTheReference) {
  ASSERT_GT(Accepted().size(), 20);
  for (const Case& c : Accepted()) {
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
    EXPECT_EQ(PackedBytes(layout(), c.spec, c.m, c.n), bytes);
  }
}

TEST_P(LayoutSweepTest, UnpackingEqualsTheReferenceAndTheOriginal) {
  for (const Case& c : Accepted()) {
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
    const absl::Status status = layout().UnpackRows(c.spec, c.m, c.n, views, 0, c.m, &have);
    ASSERT_TRUE(status.ok()) << status;
    ExpectSameCoded(whole, have);
    ExpectSameCoded(reference::Unpack(name, c.spec, c.m, c.n, stored), have);
  }
}

TEST_P(LayoutSweepTest, StripesInAnyOrderEqualOnePass) {
  std::mt19937 random(3);
  for (const Case& c : Accepted()) {
    if (c.m <= Layout::kStripeGranule) continue;
    SCOPED_TRACE(Describe(layout(), c));
    const Coded whole = RandomCoded(c.spec, c.m, c.n, 3);
    const auto want = PackWhole(layout(), c.spec, whole);
    auto have = AllocatePacked(layout(), c.spec, c.m, c.n);
    ASSERT_TRUE(have.ok()) << have.status();

    std::vector<int64_t> begins;
    for (int64_t r = 0; r < c.m; r += Layout::kStripeGranule) begins.push_back(r);
    std::shuffle(begins.begin(), begins.end(), random);
    for (int64_t begin : begins) {
      const int64_t rows = std::min(Layout::kStripeGranule, c.m - begin);
      layout().PackRows(StripeOf(whole, begin, rows), c.spec, c.m, absl::MakeSpan(*have));
    }
    layout().PackShared(c.spec, c.m, c.n, whole.group_of_column, absl::MakeSpan(*have));
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_TRUE(Hex(want[i]) == Hex((*have)[i])) << want[i].decl.suffix;
    }

    const auto views = ViewsOf(want);
    Coded stripe;  // one object for all stripes: nothing of the stripe before may shine through
    for (int64_t begin : begins) {
      const int64_t rows = std::min(Layout::kStripeGranule, c.m - begin);
      ASSERT_TRUE(layout().UnpackRows(c.spec, c.m, c.n, views, begin, rows, &stripe).ok());
      ExpectSameCoded(StripeOf(whole, begin, rows), stripe);
    }
  }
}

// The thread sanitizer watches this one.
TEST_P(LayoutSweepTest, StripesPackedAtTheSameTimeShareNoByte) {
  for (const Case& c : Accepted()) {
    if (c.m <= Layout::kStripeGranule || c.spec.levels.bits != 3) continue;
    SCOPED_TRACE(Describe(layout(), c));
    const Coded whole = RandomCoded(c.spec, c.m, c.n, 5);
    const auto want = PackWhole(layout(), c.spec, whole);
    auto have = AllocatePacked(layout(), c.spec, c.m, c.n);
    ASSERT_TRUE(have.ok()) << have.status();
    layout().PackShared(c.spec, c.m, c.n, whole.group_of_column, absl::MakeSpan(*have));
    std::vector<std::thread> threads;
    for (int64_t begin = 0; begin < c.m; begin += Layout::kStripeGranule) {
      const int64_t rows = std::min(Layout::kStripeGranule, c.m - begin);
      threads.emplace_back([&, stripe = StripeOf(whole, begin, rows)] {
        layout().PackRows(stripe, c.spec, c.m, absl::MakeSpan(*have));
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_TRUE(Hex(want[i]) == Hex((*have)[i])) << want[i].decl.suffix;
    }
  }
}

TEST_P(LayoutSweepTest, ArbitraryBytesGiveAnErrorOrCodesInRange) {
  std::mt19937 random(4);
  for (const Case& c : Accepted()) {
    if (c.spec.scale_dtype != DType::kF16) continue;
    SCOPED_TRACE(Describe(layout(), c));
    auto tensors = PackWhole(layout(), c.spec, RandomCoded(c.spec, c.m, c.n, 4));
    PackedTensor& victim = tensors[random() % tensors.size()];
    for (std::byte& b : victim.bytes.As<std::byte>()) b = static_cast<std::byte>(random());
    Coded coded;
    const absl::Status status =
        layout().UnpackRows(c.spec, c.m, c.n, ViewsOf(tensors), 0, c.m, &coded);
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(victim.decl.suffix));
      continue;
    }
    for (uint8_t code : coded.codes) ASSERT_LE(code, c.spec.levels.max_code());
    for (uint8_t zero : coded.zeros) ASSERT_LE(zero, c.spec.levels.max_code());
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
