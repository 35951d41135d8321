#include "client/cli/spec_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "workers/methods/method.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

TEST(SpecChoiceTest, EnumNamesAreThoseOfReports) {
  SpecChoice choice;
  for (Symmetry symmetry : {Symmetry::kAsymmetric, Symmetry::kSymmetricMinMax,
                            Symmetry::kSymmetricAbsMax, Symmetry::kSymmetricFullRange}) {
    ASSERT_TRUE(SetField("symmetry", SymmetryName(symmetry), &choice).ok());
    EXPECT_EQ(choice.fields.at("symmetry"), SymmetryName(symmetry));
  }
  for (Order order : {Order::kNatural, Order::kActOrder, Order::kGroupAware}) {
    ASSERT_TRUE(SetField("order", OrderName(order), &choice).ok());
    EXPECT_EQ(choice.fields.at("order"), OrderName(order));
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

TEST(SpecChoiceTest, AssignmentsTakePrefixesAndPaths) {
  SpecChoice choice;
  ASSERT_TRUE(SetFields("fit=shrink,storage=e8m0,levels.bits=8", &choice).ok());
  EXPECT_EQ(choice.fields.at("fit"), "shrink-search");
  EXPECT_EQ(choice.fields.at("bits"), "8");
  const auto spec = ResolveSpec(choice);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->storage.kind, StorageKind::kE8M0);
}

TEST(SpecChoiceTest, ASchemeIsItsFourFieldsAndTheLastKeyWins) {
  SpecChoice choice;
  ASSERT_TRUE(SetFields("method=aqlm,scheme=4x8g16", &choice).ok());
  EXPECT_EQ(choice.fields.count("scheme"), 0u);
  EXPECT_EQ(choice.fields.at("codebooks"), "4");
  EXPECT_EQ(choice.fields.at("codebook-bits"), "8");
  EXPECT_EQ(choice.fields.at("in-group"), "16");
  EXPECT_EQ(choice.fields.at("out-group"), "1");
  EXPECT_EQ(ResolveSpec(choice)->levels.codebooks, 4);
  ASSERT_TRUE(SetField("levels.in_group", "32", &choice).ok());
  EXPECT_EQ(ResolveSpec(choice)->levels.in_group, 32);
  ASSERT_TRUE(SetField("scheme", "1x16", &choice).ok());
  EXPECT_EQ(ResolveSpec(choice)->levels.in_group, 8);
  EXPECT_EQ(ResolveSpec(choice)->levels.codebook_bits, 16);
  const SpecChoice before = choice;
  const absl::Status status = SetField("scheme", "1-16", &choice);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("scheme: \"1-16\" is not MxB[gI][oO]"));
  EXPECT_EQ(choice.fields, before.fields);
}

TEST(SpecChoiceTest, WhatFollowsFromASchemeFollows) {
  SpecChoice choice;
  ASSERT_TRUE(SetFields("method=aqlm,group-size=row,scheme=1x8g4,storage=table", &choice).ok());
  EXPECT_THAT(std::string(ResolveSpec(choice).status().message()), HasSubstr("granularity group"));
  choice.fields.erase("granularity");
  EXPECT_EQ(ResolveSpec(choice)->partition.group_size, 4);
}

TEST(SpecChoiceTest, EveryKnownKeyIsKnown) {
  EXPECT_THAT(KnownKeys(), HasSubstr(", codebooks, codebook-bits, out-group, in-group, "));
  EXPECT_THAT(KnownKeys(), HasSubstr(", scheme, scale-dtype"));
}

TEST(SpecChoiceTest, MistakesInAssignmentsAreNamed) {
  const auto refused = [](const char* text, const char* said) {
    SpecChoice choice;
    ASSERT_TRUE(SetField("bits", "4", &choice).ok());
    const absl::Status status = SetFields(text, &choice);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(said)) << text;
  };
  refused("colour=red", "unknown key \"colour\"; known: method, levels, bits");
  refused("bits=3", "bits: is given twice");
  refused("fit", "\"fit\" is not KEY=VALUE");
  refused("fit=", "\"fit=\" is not KEY=VALUE");
  refused("fit=best", "best");
  refused("order=natural,order=act-order", "order: is given twice");
  refused("scheme=2x8,in-group=4", "in-group: is given twice");
  refused("scheme=2x8g", "scheme: \"2x8g\" is not MxB[gI][oO]");
}

TEST(SpecChoiceTest, EveryMethodResolvesAndNonsenseIsRefusedWithTheReason) {
  for (const Method* method : AllMethods()) {
    SpecChoice choice;
    ASSERT_TRUE(SetField("method", method->name, &choice).ok());
    const auto spec = ResolveSpec(choice);
    EXPECT_TRUE(spec.ok()) << method->name << ": " << spec.status();
  }
  SpecChoice choice;
  ASSERT_TRUE(SetFields("method=awq,group-axis=in,fit=min-max", &choice).ok());
  EXPECT_THAT(std::string(ResolveSpec(choice).status().message()),
              HasSubstr("groups down a column"));
  choice = {};
  ASSERT_TRUE(SetFields("method=nf4,bits=3", &choice).ok());
  EXPECT_THAT(std::string(ResolveSpec(choice).status().message()), HasSubstr("4 bits, not 3"));
}

TEST(SpecChoiceTest, OverlayChangesOnlyWhatIsSet) {
  SpecChoice base;
  ASSERT_TRUE(SetFields("bits=4,group-size=64", &base).ok());
  SpecChoice over;
  ASSERT_TRUE(SetField("bits", "8", &over).ok());
  const SpecChoice both = Overlay(base, over);
  EXPECT_EQ(both.fields.at("bits"), "8");
  EXPECT_EQ(both.fields.at("group-size"), "64");
  EXPECT_FALSE(both.method);
}

TEST(SpecChoiceTest, ZeroDampingIsNotTheDefault) {
  SpecChoice choice;
  ASSERT_TRUE(SetFields("method=gptq,damping=0", &choice).ok());
  EXPECT_EQ(ResolveSpec(choice)->solve.damping.fraction, 0.0);
  choice.fields.clear();
  EXPECT_EQ(ResolveSpec(choice)->solve.damping.fraction, 0.01);
}

}  // namespace
}  // namespace quantd::cli
