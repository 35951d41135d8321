#include "workers/pack/storable.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  spec.scale_dtype = DType::kI32;
  ExpectAllRefuse(spec, 32, 32, "scale_dtype", "I32");
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
}

}  // namespace
}  // namespace quantd
