#include "workers/core/spec.h"

#include <gtest/gtest.h>

#include "workers/core/coded.h"

namespace quantd {
namespace {

TEST(AffineIntTest, CountsCodes) {
  for (int bits = 2; bits <= 8; ++bits) {
    const AffineInt levels{bits, Symmetry::kSymmetricMinMax};
    EXPECT_EQ(levels.max_code() + 1, 2 * levels.middle_code());
  }
  EXPECT_EQ((AffineInt{4, Symmetry::kAsymmetric}).max_code(), 15);
  EXPECT_FALSE((AffineInt{4, Symmetry::kAsymmetric}).symmetric());
}

TEST(PartitionTest, CountsGroupsOfARow) {
  const Partition groups{Granularity::kGroup, 128, TailPolicy::kShortLastGroup};
  EXPECT_EQ(groups.GroupsPerRow(256), 2);
  EXPECT_EQ(groups.GroupsPerRow(257), 3);
  EXPECT_EQ(groups.GroupsPerRow(5), 1);
  EXPECT_EQ(groups.GroupColumns(5), 5);
  for (const Granularity one : {Granularity::kRow, Granularity::kTensor}) {
    const Partition whole{one, 128, TailPolicy::kReject};
    EXPECT_EQ(whole.GroupsPerRow(1000), 1);
    EXPECT_EQ(whole.GroupColumns(1000), 1000);
  }
}

TEST(CodedTest, ReshapesToAStripe) {
  Spec spec;
  spec.partition.group_size = 100;
  Coded coded;
  coded.group_of_column = {1, 2};
  coded.Reshape(spec, 7, 3, 250);
  EXPECT_EQ(coded.row_begin, 7);
  EXPECT_EQ(coded.codes.size(), 750u);
  EXPECT_EQ(coded.scales.size(), 9u);
  EXPECT_EQ(coded.zeros.size(), 9u);
  EXPECT_EQ(coded.GroupOf(199), 1);
  EXPECT_EQ(coded.GroupOf(200), 2);
  EXPECT_TRUE(coded.group_of_column.empty());
}

TEST(SpecNamesTest, AreDistinctWords) {
  EXPECT_EQ(SymmetryName(Symmetry::kSymmetricMinMax), "symmetric-minmax");
  EXPECT_EQ(GranularityName(Granularity::kGroup), "group");
  EXPECT_EQ(FitKindName(FitKind::kShrinkSearch), "shrink-search");
  EXPECT_EQ(OrderName(Order::kActOrder), "act-order");
  EXPECT_NE(SolverName(Solver::kRtn), SolverName(Solver::kGptq));
  EXPECT_NE(GroupTimingName(GroupTiming::kStatic), GroupTimingName(GroupTiming::kDynamic));
  EXPECT_NE(FactorizationName(Factorization::kLdlq), FactorizationName(Factorization::kCholesky));
  EXPECT_NE(TailPolicyName(TailPolicy::kReject), TailPolicyName(TailPolicy::kShortLastGroup));
}

}  // namespace
}  // namespace quantd
