// What a spec asks of a request: statistics, weights that stay together, several tries.
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "workers/core/spec_fields.h"
#include "workers/methods/check.h"
#include "workers/methods/method.h"
#include "workers/methods/resolve.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

using Settings = std::vector<std::pair<std::string, std::string>>;

Spec Resolved(absl::string_view method, const Settings& settings = {}) {
  const absl::StatusOr<Spec> spec = ResolveSpec(method, settings);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return *spec;
}

TEST(RequiredRolesTest, OfEveryMethod) {
  const std::vector<std::pair<std::vector<std::string>, std::vector<Role>>> table = {
      {{"rtn", "hqq", "kmeans", "fp8", "mxfp4", "mxfp8", "mxint8", "mxint4", "nvfp4", "nf4", "fp4",
        "fineq", "mixquant", "wkv", "aqlm"},
       {}},
      {{"gptq", "adadim-rtn", "adadim-gptq", "awq", "spqr", "claq", "gptqt", "owq", "sparsegpt",
        "quarot", "rsq"},
       {Role::kHessian}},
      {{"qep", "gptaq"}, {Role::kHessian, Role::kCrossMoment}},
      {{"squeezellm"}, {Role::kFisher}},
      {{"gwq"}, {Role::kGradient}},
      {{"smoothquant"}, {Role::kChannelAbsMax}},
  };
  size_t methods = 0;
  for (const auto& [names, roles] : table) {
    for (const std::string& name : names) {
      ++methods;
      EXPECT_THAT(RequiredRoles(Resolved(name)), UnorderedElementsAreArray(roles)) << name;
    }
  }
  EXPECT_EQ(methods, AllMethods().size());
}

TEST(RequiredRolesTest, FollowTheAxes) {
  EXPECT_THAT(RequiredRoles(Resolved("kmeans", {{"importance", "diagonal"}})),
              ElementsAre(Role::kHessian));
  EXPECT_THAT(RequiredRoles(Resolved("kmeans", {{"importance", "fisher"}})),
              ElementsAre(Role::kFisher));
  EXPECT_THAT(RequiredRoles(Resolved("rtn", {{"importance", "fisher"}})), IsEmpty());
  EXPECT_THAT(RequiredRoles(Resolved("rtn", {{"outliers", "fisher"}})), ElementsAre(Role::kFisher));
  EXPECT_THAT(RequiredRoles(Resolved("rtn", {{"outliers", "range"}})), IsEmpty());
  EXPECT_THAT(RequiredRoles(Resolved("rtn", {{"kept-columns", "0.1"}})),
              ElementsAre(Role::kHessian));
  EXPECT_THAT(RequiredRoles(Resolved("rtn", {{"fit", "clip-search"}})),
              ElementsAre(Role::kHessian));
  EXPECT_THAT(RequiredRoles(Resolved("rtn", {{"group-axis", "adaptive"}})),
              ElementsAre(Role::kHessian));
  EXPECT_THAT(RequiredRoles(Resolved("gptq", {{"outliers", "gradient"}})),
              ElementsAre(Role::kHessian, Role::kGradient));
}

TEST(RequiredRolesTest, GivenCodebooksComeWithTheirScales) {
  EXPECT_THAT(RequiredRoles(Resolved("aqlm", {{"fit", "given"}})),
              ElementsAre(Role::kCodebooks, Role::kScales));
}

TEST(UsesRoleTest, WhatIsRequiredIsUsed) {
  for (const Method* method : AllMethods()) {
    for (const Role role : RequiredRoles(method->defaults())) {
      EXPECT_TRUE(UsesRole(method->defaults(), role)) << method->name << " " << RoleName(role);
    }
  }
}

TEST(UsesRoleTest, WeightsAndSecondMomentsServeEveryReport) {
  for (const Role role : {Role::kWeight, Role::kHessian, Role::kActivations, Role::kTokenWeight}) {
    EXPECT_TRUE(UsesRole(Resolved("rtn"), role)) << RoleName(role);
  }
}

TEST(UsesRoleTest, OptionalStatisticsFollowTheAxes) {
  EXPECT_TRUE(UsesRole(Resolved("awq"), Role::kChannelAbsMean));
  EXPECT_FALSE(UsesRole(Resolved("smoothquant"), Role::kChannelAbsMean));
  EXPECT_FALSE(UsesRole(Resolved("awq"), Role::kChannelAbsMax));
  EXPECT_TRUE(UsesRole(Resolved("quarot"), Role::kRotationSigns));
  EXPECT_FALSE(UsesRole(Resolved("gptq"), Role::kRotationSigns));
  EXPECT_FALSE(UsesRole(Resolved("gptq"), Role::kFisher));
  EXPECT_FALSE(UsesRole(Resolved("gptq"), Role::kCrossMoment));
  EXPECT_FALSE(UsesRole(Resolved("rtn"), Role::kPacked));
}

TEST(UsesRoleTest, GivenCodesAndStatesAreForBeamSearches) {
  const Spec found = Resolved("aqlm"), given = Resolved("aqlm", {{"fit", "given"}});
  for (const Role role : {Role::kCodebooks, Role::kScales, Role::kCodes}) {
    EXPECT_TRUE(UsesRole(given, role)) << RoleName(role);
    EXPECT_FALSE(UsesRole(found, role)) << RoleName(role);
    EXPECT_FALSE(UsesRole(Resolved("gptq"), role)) << RoleName(role);
  }
  EXPECT_TRUE(UsesRole(given, Role::kCheckpoint));
  EXPECT_TRUE(UsesRole(found, Role::kCheckpoint));
  EXPECT_FALSE(UsesRole(Resolved("gptq"), Role::kCheckpoint));
  EXPECT_TRUE(UsesRole(found, Role::kHessian));
  EXPECT_TRUE(UsesRole(found, Role::kActivations));
}

TEST(TiesWeightsTest, SharedScalesAndSharedColumnsTie) {
  for (const Method* method : AllMethods()) {
    const std::string name(method->name);
    const bool ties = name == "awq" || name == "smoothquant" || name == "nvfp4" || name == "owq";
    EXPECT_EQ(TiesWeights(method->defaults()), ties) << name;
  }
  EXPECT_TRUE(TiesWeights(Resolved("rtn", {{"kept-columns", "0.01"}})));
  EXPECT_FALSE(TiesWeights(Resolved("owq", {{"kept-columns", "0"}})));
}

TEST(CandidatesTest, ASpecWithNothingAdaptiveIsItsOwn) {
  const std::vector<Spec> candidates = CandidatesOf(Resolved("gptq"), 100, 99);
  ASSERT_EQ(candidates.size(), 1u);
  EXPECT_EQ(candidates[0].partition.axis, GroupAxis::kOut);
}

TEST(CandidatesTest, BothAxesWhereGroupsDivide) {
  const auto axes = [](const Settings& settings, int64_t m, int64_t n) {
    std::vector<GroupAxis> found;
    for (const Spec& c : CandidatesOf(Resolved("adadim-rtn", settings), m, n)) {
      EXPECT_FALSE(IsAdaptive(c));
      EXPECT_TRUE(CheckAxes(c).ok()) << CheckAxes(c);
      found.push_back(c.partition.axis);
    }
    return found;
  };
  const Settings four = {{"group-size", "4"}};
  EXPECT_THAT(axes(four, 8, 12), ElementsAre(GroupAxis::kOut, GroupAxis::kIn));
  EXPECT_THAT(axes(four, 7, 12), ElementsAre(GroupAxis::kOut));
  EXPECT_THAT(axes(four, 8, 13), ElementsAre(GroupAxis::kIn));
  EXPECT_THAT(axes(four, 7, 13), IsEmpty());
  EXPECT_THAT(axes({{"group-size", "4"}, {"tail", "short-last-group"}}, 7, 13),
              ElementsAre(GroupAxis::kOut, GroupAxis::kIn));
}

TEST(CandidatesTest, RoundOffTriesEveryWidthFromTheWidestDown) {
  const Spec spec = Resolved("mixquant");
  EXPECT_TRUE(IsAdaptive(spec));
  const std::vector<Spec> candidates = CandidatesOf(spec, 3, 5);
  ASSERT_EQ(candidates.size(), 7u);
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(candidates[i].levels.bits, 8 - i);
    EXPECT_FALSE(IsAdaptive(candidates[i]));
    EXPECT_TRUE(CheckAxes(candidates[i]).ok());
  }
}

// Presets with up to three fields moved anywhere in their range.
TEST(CandidatesTest, OfASpecThatPassesPassToo) {
  std::mt19937 random(7);
  int accepted = 0, adaptive = 0;
  for (int i = 0; i < 20000; ++i) {
    Spec spec = AllMethods()[random() % AllMethods().size()]->defaults();
    std::vector<const SpecField*> given;
    for (int change = random() % 4; change > 0; --change) {
      const SpecField& field = SpecFields()[random() % SpecFields().size()];
      const bool is_enum = field.type == SpecField::Type::kEnum;
      const double low = is_enum ? 1 : field.min;
      const double high =
          is_enum ? static_cast<double>(field.names.size() - 1) : std::min(field.max, 300.0);
      double value = low + (high - low) * static_cast<double>(random() % 1001) / 1000;
      if (field.type != SpecField::Type::kReal) value = std::nearbyint(value);
      field.set(&spec, value);
      given.push_back(&field);
    }
    FillDependentFields(given, &spec);
    if (!CheckSpec(spec).ok()) continue;
    ++accepted;
    adaptive += IsAdaptive(spec);
    for (const Role role : RequiredRoles(spec)) EXPECT_TRUE(UsesRole(spec, role));
    for (const Spec& candidate : CandidatesOf(spec, 96, 4800)) {
      EXPECT_FALSE(IsAdaptive(candidate));
      EXPECT_TRUE(CheckAxes(candidate).ok()) << spec.method << ": " << CheckAxes(candidate);
    }
  }
  EXPECT_GT(accepted, 5000);
  EXPECT_GT(adaptive, 500);
}

}  // namespace
}  // namespace quantd
