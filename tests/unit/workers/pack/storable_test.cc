#include "workers/pack/storable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "tests/unit/workers/pack/samples.h"
#include "workers/pack/layout.h"

namespace quantd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Every layout must refuse with INVALID_ARGUMENT naming `axis` and `value`.
void ExpectAllRefuse(const Spec& spec, int64_t m, int64_t n, const std::string& axis,
                     const std::string& value) {
  for (const Layout* layout : AllLayouts()) {
    const absl::Status status = layout->Accepts(spec, m, n);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(axis), HasSubstr(value)))
        << std::string(layout->name());
  }
}

TEST(StorableTest, BitsOutsideTwoToEightAreRefused) {
  for (int bits : {-1, 0, 1, 9, 1000}) {
    ExpectAllRefuse(RowSpec(bits), 32, 32, "bits", std::to_string(bits));
  }
}

TEST(StorableTest, UnspecifiedAxesAreRefused) {
  Spec spec = RowSpec(4);
  spec.levels.symmetry = Symmetry::kUnspecified;
  ExpectAllRefuse(spec, 32, 32, "symmetry", "unspecified");
  spec = RowSpec(4);
  spec.partition.granularity = Granularity::kUnspecified;
  ExpectAllRefuse(spec, 32, 32, "granularity", "unspecified");
  spec = RowSpec(4);
  spec.storage.kind = StorageKind::kUnspecified;
  ExpectAllRefuse(spec, 32, 32, "storage", "unspecified");
  spec = RowSpec(4);
  spec.levels.kind = LevelKind::kUnspecified;
  ExpectAllRefuse(spec, 32, 32, "levels", "unspecified");
  spec = Asymmetric(RowSpec(4));
  spec.levels.zero = ZeroPoint::kUnspecified;
  ExpectAllRefuse(spec, 32, 32, "zero", "unspecified");
  spec = Minifloat(NumberFormat::kE2M1, RowSpec(4));
  spec.levels.format = NumberFormat::kUnspecified;
  ExpectAllRefuse(spec, 32, 32, "format", "unspecified");
  spec = RowSpec(4);
  spec.levels.kind = LevelKind::kFixedTable;
  spec.levels.table = FixedTable::kUnspecified;
  ExpectAllRefuse(spec, 32, 32, "table", "unspecified");
}

TEST(StorableTest, AnAxisThatIsStillAdaptiveIsRefused) {
  Spec spec = GroupSpec(4, 32);
  spec.partition.axis = GroupAxis::kAdaptive;
  ExpectAllRefuse(spec, 32, 32, "group-axis", "adaptive");
}

TEST(StorableTest, BitsThatTheLevelsDoNotHaveAreRefused) {
  Spec spec = Minifloat(NumberFormat::kE4M3, RowSpec(4));
  spec.levels.bits = 4;
  ExpectAllRefuse(spec, 32, 32, "bits = 4", "8 for these levels");
  spec.levels.kind = LevelKind::kCluster;
  ExpectAllRefuse(spec, 32, 32, "bits = 4", "3 for these levels");
}

TEST(StorableTest, SharesOutOfRangeAreRefused) {
  for (double bad : {-0.1, 0.6, std::nan("")}) {
    Spec spec = RowSpec(4);
    spec.exceptions.share = bad;
    ExpectAllRefuse(spec, 32, 32, "outlier-share", "0.5");
    spec = RowSpec(4);
    spec.exceptions.kept_columns = bad;
    ExpectAllRefuse(spec, 32, 32, "kept-columns", "0.5");
  }
  Spec spec = RowSpec(4);
  spec.exceptions.recent_rows = -1;
  ExpectAllRefuse(spec, 32, 32, "recent-rows", "-1");
  spec = RowSpec(4);
  spec.allocation.kind = AllocationKind::kColumnScore;
  spec.allocation.high_bits = 9;
  ExpectAllRefuse(spec, 32, 32, "high-bits", "9");
}

TEST(StorableTest, SecondLevelsOutOfRangeAreRefused) {
  for (int bad : {0, -1, 4097}) {
    Spec spec = SpqrSpec();
    spec.storage.super_group = bad;
    ExpectAllRefuse(spec, 32, 32, "super-group", std::to_string(bad));
  }
  Spec spec = SpqrSpec();
  spec.storage.bits = 9;
  ExpectAllRefuse(spec, 32, 32, "scale-bits", "9");
}

TEST(StorableTest, AdditiveCountsOutOfRangeAreRefused) {
  const auto refused = [](int Levels::*count, int value, const std::string& axis) {
    Spec spec = AdditiveSpec(2, 8);
    spec.levels.*count = value;
    ExpectAllRefuse(spec, 64, 64, axis + " = ", std::to_string(value));
  };
  for (int bad : {0, -1, 17}) {
    refused(&Levels::codebooks, bad, "codebooks");
    refused(&Levels::codebook_bits, bad, "codebook-bits");
  }
  for (int bad : {0, -1, 65}) {
    refused(&Levels::out_group, bad, "out-group");
    refused(&Levels::in_group, bad, "in-group");
  }
  Spec spec = PatchScales(AdditiveSpec(2, 8), 9);
  ExpectAllRefuse(spec, 64, 64, "scale-bits", "9");
}

TEST(StorableTest, GroupsNeedAColumn) {
  for (int64_t g : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    ExpectAllRefuse(GroupSpec(4, g), 32, 32, "group_size", std::to_string(g));
  }
}

TEST(StorableTest, EmptyNegativeAndOverflowingShapesAreRefused) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  ExpectAllRefuse(RowSpec(4), 0, 32, "shape", "[0, 32]");
  ExpectAllRefuse(RowSpec(4), 32, -32, "shape", "[32, -32]");
  ExpectAllRefuse(RowSpec(4), kMax, 32, "shape", "2^56");
  ExpectAllRefuse(RowSpec(4), kMax, kMax, "shape", "2^56");
  ExpectAllRefuse(RowSpec(4), int64_t{1} << 31, 32, "shape", "2^31");
}

TEST(StorableTest, AHugeGroupIsTheWholeRow) {
  const Spec spec = GroupSpec(4, std::numeric_limits<int64_t>::max());
  EXPECT_TRUE(LayoutNamed("plain").Accepts(spec, 32, 32).ok());
  EXPECT_EQ(LayoutNamed("plain").Declare(spec, 32, 32)[1].shape, (Shape{32, 1}));
}

TEST(StorableTest, OnlyDynamicGroupsInAnotherOrderNeedAnIndex) {
  const Spec moved = DynamicActOrder(GroupSpec(4, 32));
  EXPECT_TRUE(NeedsGroupIndex(moved, 64));
  EXPECT_FALSE(NeedsGroupIndex(moved, 32)) << "one group";
  EXPECT_FALSE(NeedsGroupIndex(DynamicActOrder(RowSpec(4)), 64));
  Spec spec = moved;
  spec.solve.timing = GroupTiming::kStatic;
  EXPECT_FALSE(NeedsGroupIndex(spec, 64));
  spec = moved;
  spec.solve.order = Order::kNatural;
  EXPECT_FALSE(NeedsGroupIndex(spec, 64));
  spec = moved;
  spec.solve.solver = Solver::kRtn;
  EXPECT_FALSE(NeedsGroupIndex(spec, 64)) << "the solve axis means nothing to RTN";
  spec = moved;
  spec.partition.axis = GroupAxis::kIn;
  EXPECT_FALSE(NeedsGroupIndex(spec, 64)) << "each column has groups of its own";
}

}  // namespace
}  // namespace quantd
