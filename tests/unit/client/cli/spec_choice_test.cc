#include "client/cli/spec_choice.h"

#include <gtest/gtest.h>

namespace quantd::cli {
namespace {

TEST(SpecChoiceTest, EnumNamesAreThoseOfReports) {
  SpecChoice choice;
  for (Symmetry symmetry : {Symmetry::kAsymmetric, Symmetry::kSymmetricMinMax,
                            Symmetry::kSymmetricAbsMax, Symmetry::kSymmetricFullRange}) {
    ASSERT_TRUE(SetField("symmetry", SymmetryName(symmetry), &choice).ok());
    EXPECT_EQ(choice.symmetry, symmetry);
  }
  for (Order order : {Order::kNatural, Order::kActOrder, Order::kGroupAware}) {
    ASSERT_TRUE(SetField("order", OrderName(order), &choice).ok());
    EXPECT_EQ(choice.order, order);
  }
}

TEST(SpecChoiceTest, GroupSizeKnowsRowAndTensor) {
  SpecChoice choice;
  ASSERT_TRUE(SetField("group-size", "row", &choice).ok());
  EXPECT_EQ(ResolveSpec(choice)->partition.granularity, Granularity::kRow);
  ASSERT_TRUE(SetField("group-size", "tensor", &choice).ok());
  EXPECT_EQ(ResolveSpec(choice)->partition.granularity, Granularity::kTensor);
  ASSERT_TRUE(SetField("group-size", "32", &choice).ok());
  EXPECT_EQ(ResolveSpec(choice)->partition.granularity, Granularity::kGroup);
  EXPECT_EQ(ResolveSpec(choice)->partition.group_size, 32);
  EXPECT_FALSE(SetField("group-size", "-32", &choice).ok());
}

TEST(SpecChoiceTest, UnknownKeysAndWrongValuesDiffer) {
  SpecChoice choice;
  EXPECT_EQ(SetField("colour", "red", &choice).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(SetField("bits", "1", &choice).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SetField("damping", "-0.1", &choice).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SetField("scale-dtype", "I8", &choice).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(SetField("tail", "pad", &choice).code(), absl::StatusCode::kInvalidArgument);
}

TEST(SpecChoiceTest, OverlayChangesOnlyWhatIsSet) {
  SpecChoice base;
  base.bits = 4;
  base.group_size = "64";
  SpecChoice over;
  over.bits = 8;
  const SpecChoice both = Overlay(base, over);
  EXPECT_EQ(both.bits, 8);
  EXPECT_EQ(both.group_size, "64");
  EXPECT_FALSE(both.method);
}

TEST(SpecChoiceTest, ZeroDampingIsNotTheDefault) {
  SpecChoice choice;
  choice.method = "gptq";
  choice.damping = 0.0;
  EXPECT_EQ(ResolveSpec(choice)->solve.damping.fraction, 0.0);
  choice.damping.reset();
  EXPECT_EQ(ResolveSpec(choice)->solve.damping.fraction, 0.01);
}

}  // namespace
}  // namespace quantd::cli
