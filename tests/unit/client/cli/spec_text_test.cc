#include "client/cli/spec_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(SpecSummaryTest, SaysWhatTellsSpecsApart) {
  Spec spec;
  spec.method = "gptq";
  spec.solve.solver = Solver::kGptq;
  spec.solve.order = Order::kActOrder;
  EXPECT_EQ(SpecSummary(spec), "gptq int4 g128 symmetric-minmax f16 act-order");
  spec = Spec();
  spec.method = "nf4";
  spec.levels.kind = LevelKind::kFixedTable;
  spec.partition.axis = GroupAxis::kIn;
  spec.exceptions.outliers = OutlierKind::kRange;
  spec.exceptions.mask_kept = 2;
  spec.exceptions.mask_of = 4;
  EXPECT_EQ(SpecSummary(spec), "nf4 nf4 g128-in f16 outliers=range 2:4");
}

TEST(SpecSummaryTest, OfAnAdditiveCodeIsItsSchemeAndBeam) {
  Spec spec = (*FindMethod("aqlm"))->defaults();
  EXPECT_EQ(SpecSummary(spec), "aqlm 2x8 per-row f16 beam=1");
  ASSERT_TRUE(SetSpecField("scheme", "1x16g4o2", &spec).ok());
  spec.partition.granularity = Granularity::kGroup;
  spec.partition.group_size = 4;
  spec.storage.kind = StorageKind::kTable;
  spec.fit.kind = FitKind::kGiven;
  spec.solve.beam = 8;
  EXPECT_EQ(SpecSummary(spec), "aqlm 1x16g4o2 g4 table given beam=8");
}

TEST(DescribeMethodTest, TellsEverythingThatMattersAndNothingElse) {
  for (const Method* method : AllMethods()) {
    const std::string text = DescribeMethod(*method);
    EXPECT_THAT(text, HasSubstr(std::string(method->name) + ": "));
    EXPECT_THAT(text, HasSubstr("  when not to use"));
    EXPECT_EQ(text.find("    bits ") == std::string::npos, method->name == "aqlm") << text;
    for (absl::string_view fixed : method->fixed) {
      EXPECT_THAT(text, HasSubstr("    " + std::string(fixed) + " ")) << method->name;
    }
    EXPECT_EQ(text.find("unspecified"), std::string::npos) << text;
    EXPECT_EQ(text.find(" \n"), std::string::npos) << "trailing blank in\n" << text;
  }
  const std::string rtn = DescribeMethod(**FindMethod("rtn"));
  EXPECT_THAT(rtn, Not(HasSubstr("damping")));
  EXPECT_THAT(rtn, Not(HasSubstr("outlier-share")));
  EXPECT_THAT(DescribeMethod(**FindMethod("awq")), HasSubstr("scaling-steps"));
  EXPECT_THAT(DescribeMethod(**FindMethod("hqq")), HasSubstr("kappa"));
}

TEST(BitsTextTest, CountsTheCodesOfAPatchForEachOfItsWeights) {
  Levels levels;
  EXPECT_EQ(BitsText(levels), "4");
  levels.kind = LevelKind::kAdditive;
  EXPECT_EQ(BitsText(levels), "2");
  levels.codebook_bits = 7;
  EXPECT_EQ(BitsText(levels), "1.75");
}

TEST(DescribeMethodTest, ShowsAShorthandBesideItsFields) {
  const std::string aqlm = DescribeMethod(**FindMethod("aqlm"));
  const size_t at = aqlm.find(
      "    scheme                   2x8                    short for "
      "codebooks, codebook-bits, in-group, out-group: MxB[gI][oO]");
  ASSERT_NE(at, std::string::npos) << aqlm;
  EXPECT_EQ(aqlm.find("    codebooks ", at), aqlm.find('\n', at) + 1);
  EXPECT_THAT(aqlm, HasSubstr("statistics        none; HESSIAN or ACTIVATIONS where there is one"));
  EXPECT_THAT(aqlm, HasSubstr("    beam "));
  EXPECT_THAT(aqlm, HasSubstr("    seeding "));
  for (const char* name : {"damping", "group-size", "scale-bits", "learning-rate", "importance"}) {
    EXPECT_THAT(aqlm, Not(HasSubstr("    " + std::string(name) + " ")));
  }
  EXPECT_THAT(DescribeMethod(**FindMethod("gptq")), Not(HasSubstr("scheme")));
}

TEST(SpecForReportTest, OfAnAdditiveCodeFollowsItsFitAndUpdate) {
  Spec spec = (*FindMethod("aqlm"))->defaults();
  auto json = SpecForReport(spec);
  EXPECT_EQ(json["levels"], "additive");
  EXPECT_EQ(json["codebook-bits"], 8);
  EXPECT_EQ(json["update-steps"], 3);
  for (const char* name : {"scheme", "bits", "order", "adam", "changed-share"}) {
    EXPECT_FALSE(json.contains(name)) << name;
  }
  spec.solve.update = CodebookRule::kAdam;
  spec.storage.kind = StorageKind::kTable;
  json = SpecForReport(spec);
  EXPECT_EQ(json["adam"], "paper");
  EXPECT_EQ(json["learning-rate"], 1e-4);
  EXPECT_EQ(json["scale-bits"], 3);
  spec.fit.kind = FitKind::kGiven;
  json = SpecForReport(spec);
  EXPECT_EQ(json["changed-share"], 1.0);
  EXPECT_EQ(json["beam"], 1);
  EXPECT_EQ(json["rounds"], 100);  // passes of the search
  EXPECT_EQ(json["fit-seed"], 0);
  for (const char* name : {"update", "update-steps", "adam", "seeding", "fit-iterations"}) {
    EXPECT_FALSE(json.contains(name)) << name;
  }
}

TEST(SpecForReportTest, KeepsTheFieldsThatMatter) {
  Spec spec;
  spec.method = "rtn";
  const auto json = SpecForReport(spec);
  EXPECT_EQ(json["bits"], 4);
  EXPECT_EQ(json["storage"], "f16");
  EXPECT_FALSE(json.contains("damping"));
}

}  // namespace
}  // namespace quantd::cli
