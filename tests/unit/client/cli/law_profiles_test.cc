#include "client/cli/law_profiles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/client/files/model_folder.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

LawProfile BuiltIn(const std::string& name) {
  const auto profile = FindLawProfile(*LoadLawProfiles(""), name);
  EXPECT_TRUE(profile.ok()) << profile.status();
  return profile.ok() ? *profile : LawProfile();
}

double Ask(const LawProfile& profile, LawQuestion question, double LawAnswer::*what) {
  const auto answer = AskLaw(profile, question);
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.ok() ? (*answer).*what : 0;
}

TEST(LawProfilesTest, TheDefaultAnswersTheTestVectors) {
  const LawProfile law = BuiltIn(kDefaultLaw);
  EXPECT_THAT(law.provenance, HasSubstr("ours, not published"));
  const struct {
    double n, q_r, q_b, delta;
  } cases[] = {{7, 0.9, 16, 0.1068},
               {7, 0.9, 32, 0.1434},
               {7, 0.5, 16, 0.01472},
               {14, 0.95, 128, 0.2322},
               {70, 1, 32, 0.0724}};
  for (const auto& c : cases) {
    const double delta = Ask(law, {c.n, c.q_r, c.q_b, {}}, &LawAnswer::delta);
    EXPECT_NEAR(delta, c.delta, 6e-4 * c.delta) << c.n;
  }
}

TEST(LawProfilesTest, PublishedLinesAreThere) {
  const std::pair<const char*, double> at_7b[] = {
      {"v1-5-percent", 0.7531}, {"v1-10-percent", 0.8754}, {"v1-20-percent", 1}};
  for (const auto& [name, share] : at_7b) {
    const LawProfile line = BuiltIn(name);
    EXPECT_THAT(line.provenance, HasSubstr("published"));
    EXPECT_NEAR(Ask(line, {7, {}, {}, DeltaOfRise(std::get<BudgetLine>(line.law).rise)},
                    &LawAnswer::low_share),
                share, 5e-5);
  }
  const LawProfile blocks = BuiltIn("v1-blocks-7b-0.9");
  const double delta = Ask(blocks, {7, 0.9, 128, {}}, &LawAnswer::delta);
  EXPECT_NEAR(100 * RiseOfDelta(delta), 1.65 * std::pow(128, 0.62), 1e-9);
}

TEST(LawProfilesTest, AFileAddsAndReplaces) {
  quantd::testing::TempFolder folder;
  const std::string path = folder / "laws.yaml";
  quantd::testing::WriteText(path, R"(
- name: mine
  kind: law
  provenance: measured here
  holds-for: gptq int4
  c: 0.001
  a: 3
  gamma-n: 0.5
- name: qwen1.5-mxint4-pooled
  kind: law
  provenance: measured here
  holds-for: mxint4
  c: 0.002
  a: 4
  gamma-n: 0.5
  gamma-b: 0.25
  d: 8
  block: [16, 64]
)");
  const auto profiles = LoadLawProfiles(path);
  ASSERT_TRUE(profiles.ok()) << profiles.status();
  EXPECT_EQ(std::get<ScalingLaw>(FindLawProfile(*profiles, "mine")->law).gamma_b, 0);
  const LawProfile replaced = *FindLawProfile(*profiles, kDefaultLaw);
  EXPECT_EQ(std::get<ScalingLaw>(replaced.law).c, 0.002);
  EXPECT_EQ(std::get<ScalingLaw>(replaced.law).domain.block.most, 64);
  const auto missing = FindLawProfile(*profiles, "nosuch");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("mine"));
}

TEST(LawProfilesTest, WhatAFitPrintsReadsBack) {
  LawFit fit;
  fit.law = {0.00103, 4.955, 0.512, 0.425, 8, 0.27, {{0.5, 32}, {0.5, 0.99}, {16, 512}}};
  fit.points = 30;
  const auto profiles = ParseLawProfiles(LawProfileYaml("x", "fitted to 30 points", fit), "x.yaml");
  ASSERT_TRUE(profiles.ok()) << profiles.status();
  const ScalingLaw& law = std::get<ScalingLaw>(profiles->front().law);
  EXPECT_EQ(law.c, 0.00103);
  EXPECT_EQ(law.gamma_b, 0.425);
  EXPECT_EQ(law.d, 8);
  EXPECT_EQ(law.domain.low_share.most, 0.99);
}

TEST(LawProfilesTest, MistakesNameLineKeyAndValue) {
  const std::string head = "- name: a\n  kind: law\n  provenance: p\n  holds-for: h\n";
  const std::string numbers = "  c: 1\n  a: 1\n  gamma-n: 1\n";
  const std::pair<std::string, const char*> cases[] = {
      {"name: a", "l.yaml:1: a list"},
      {"- a", "a profile is a map"},
      {"- kind: law\n", "name: is missing"},
      {"- name: a\n  provenance: p\n  holds-for: h\n  kind: lore\n", "\"lore\" is not in law"},
      {head + "  a: 1\n  gamma-n: 1\n", "c: is missing"},
      {head + "  c: 0\n  a: 1\n  gamma-n: 1\n", "l.yaml:5: c: a number above 0"},
      {head + numbers + "  gama-b: 1\n", "l.yaml:8: unknown key \"gama-b\""},
      {head + numbers + "  c: 1\n", "stands here twice"},
      {head + numbers + "  block: [64, 16]\n", "l.yaml:8: block: [LEAST, MOST]"},
      {head + numbers + "  residual: nan\n", "residual"},
      {head + numbers + head + numbers, "name: \"a\" is taken"},
      {"- name: [", "l.yaml:"},
      {"- name: a\n  kind: budget-line\n  provenance: p\n  holds-for: h\n  rise: 0.1\n  slope: 1\n"
       "  intercept: 1\n",
       "slope: a number below 0"},
  };
  for (const auto& [yaml, said] : cases) {
    const auto profiles = ParseLawProfiles(yaml, "l.yaml");
    ASSERT_EQ(profiles.status().code(), absl::StatusCode::kInvalidArgument) << yaml;
    EXPECT_THAT(std::string(profiles.status().message()), HasSubstr(said)) << yaml;
  }
}

}  // namespace
}  // namespace quantd::cli
