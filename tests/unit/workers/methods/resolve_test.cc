#include "workers/methods/resolve.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "workers/methods/check.h"
#include "workers/methods/method.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Settings = std::vector<std::pair<std::string, std::string>>;

Spec Resolved(absl::string_view method, const Settings& settings = {}) {
  const absl::StatusOr<Spec> spec = ResolveSpec(method, settings);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return *spec;
}

TEST(ResolveSpecTest, WithoutSettingsIsThePreset) {
  for (const Method* method : AllMethods()) {
    const Spec spec = Resolved(method->name), preset = method->defaults();
    EXPECT_EQ(spec.method, method->name);
    for (const SpecField& field : SpecFields()) {
      EXPECT_EQ(field.get(spec), field.get(preset)) << method->name << " " << field.path;
    }
  }
}

TEST(ResolveSpecTest, SettingsLieOnTopOfThePreset) {
  const Spec spec = Resolved("spqr", {{"bits", "4"}, {"levels.bits", "2"}, {"threshold", "0.5"}});
  EXPECT_EQ(spec.levels.bits, 2);
  EXPECT_EQ(spec.exceptions.threshold, 0.5);
  EXPECT_EQ(spec.partition.group_size, 16);
}

TEST(ResolveSpecTest, SaysWhatIsWrong) {
  EXPECT_EQ(ResolveSpec("gtpq", {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ResolveSpec("gptq", {{"bit", "4"}}).status().code(), absl::StatusCode::kNotFound);
  const absl::Status range = ResolveSpec("gptq", {{"bits", "9"}}).status();
  EXPECT_EQ(range.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(range.message()), HasSubstr("bits: \"9\" is not"));
}

TEST(FillDependentFieldsTest, FormatsBringTheirBits) {
  EXPECT_EQ(Resolved("rtn", {{"levels", "minifloat"}, {"format", "e3m2"}}).levels.bits, 6);
  EXPECT_EQ(Resolved("mxfp8", {{"format", "e5m2"}}).levels.bits, 8);
  EXPECT_EQ(Resolved("rtn", {{"levels", "fixed-table"}}).levels.bits, 4);
  EXPECT_EQ(Resolved("rtn", {{"levels", "cluster"}}).levels.bits, 3);
  EXPECT_EQ(Resolved("rtn", {{"levels", "cluster"}, {"bits", "5"}}).levels.bits, 5);
  EXPECT_EQ(Resolved("rtn", {{"levels", "learned-table"}}).levels.bits, 4);
}

TEST(FillDependentFieldsTest, TablesBringTheirFit) {
  EXPECT_EQ(Resolved("rtn", {{"levels", "learned-table"}}).fit.kind, FitKind::kKMeans);
  EXPECT_EQ(Resolved("rtn", {{"levels", "binary-coding"}}).fit.kind, FitKind::kBinarySearch);
  EXPECT_EQ(Resolved("rtn", {{"levels", "learned-table"}, {"fit", "min-max"}}).fit.kind,
            FitKind::kMinMax);
}

TEST(FillDependentFieldsTest, ASweepUnderAnotherPresetGoesByActOrder) {
  EXPECT_EQ(Resolved("nf4").solve.order, Order::kNatural);
  EXPECT_EQ(Resolved("nf4", {{"solver", "gptq"}}).solve.order, Order::kActOrder);
  EXPECT_EQ(Resolved("nf4", {{"solver", "gptq"}, {"order", "natural"}}).solve.order,
            Order::kNatural);
  EXPECT_EQ(Resolved("nf4", {{"solver", "rtn"}}).solve.order, Order::kNatural);
  const Spec masked = Resolved("nf4", {{"solver", "gptq"}, {"mask-kept", "2"}, {"mask-of", "4"}});
  EXPECT_EQ(masked.solve.order, Order::kNatural);
}

TEST(FillDependentFieldsTest, WhatNeedsCompensatedValuesSweepsRightLooking) {
  EXPECT_EQ(Resolved("gptq").solve.factorization, Factorization::kLdlq);
  for (const Settings& settings : std::vector<Settings>{{{"timing", "dynamic"}},
                                                        {{"mask-kept", "2"}, {"mask-of", "4"}},
                                                        {{"asymmetric", "0.5"}},
                                                        {{"outliers", "threshold"}}}) {
    EXPECT_EQ(Resolved("gptq", settings).solve.factorization, Factorization::kCholesky)
        << settings[0].first;
    Settings forced = settings;
    forced.emplace_back("factorization", "ldlq");
    EXPECT_EQ(Resolved("gptq", forced).solve.factorization, Factorization::kLdlq)
        << settings[0].first;
  }
  EXPECT_EQ(Resolved("rtn", {{"timing", "dynamic"}}).solve.factorization, Factorization::kLdlq);
}

TEST(FillDependentFieldsTest, AdditiveLevelsAndTheirSolverBringEachOther) {
  for (const Settings& settings :
       std::vector<Settings>{{{"levels", "additive"}}, {{"solver", "beam"}}}) {
    const Spec spec = Resolved("rtn", settings);
    EXPECT_TRUE(spec.levels.additive()) << settings[0].first;
    EXPECT_EQ(spec.solve.solver, Solver::kBeam) << settings[0].first;
    EXPECT_EQ(spec.fit.kind, FitKind::kResidualKMeans) << settings[0].first;
    EXPECT_EQ(spec.partition.group_size, spec.levels.in_group) << settings[0].first;
    EXPECT_TRUE(CheckAxes(spec).ok()) << CheckAxes(spec);
  }
  EXPECT_EQ(Resolved("rtn", {{"levels", "additive"}, {"solver", "gptq"}}).solve.solver,
            Solver::kGptq);
  EXPECT_TRUE(Resolved("aqlm", {{"solver", "beam"}, {"levels", "affine"}}).levels.affine());
  EXPECT_EQ(Resolved("aqlm", {{"fit", "min-max"}}).fit.kind, FitKind::kMinMax);
  EXPECT_EQ(Resolved("aqlm", {{"fit", "given"}, {"scheme", "1x8"}}).fit.kind, FitKind::kGiven);
}

TEST(FillDependentFieldsTest, GroupsOfAdditiveLevelsAreAsWideAsTheirPatches) {
  EXPECT_EQ(Resolved("aqlm").partition.granularity, Granularity::kRow);
  const Spec spec = Resolved("aqlm", {{"granularity", "group"}, {"scheme", "4x8g16"}});
  EXPECT_EQ(spec.partition.group_size, 16);
  EXPECT_EQ(Resolved("aqlm", {{"granularity", "group"}, {"group-size", "32"}}).partition.group_size,
            32);
  EXPECT_EQ(Resolved("gptq", {{"in-group", "16"}}).partition.group_size, 128);
}

TEST(FillDependentFieldsTest, ATableOfScalesIsForPatches) {
  const Spec spec = Resolved("aqlm", {{"storage", "table"}, {"in-group", "4"}});
  EXPECT_EQ(spec.partition.granularity, Granularity::kGroup);
  EXPECT_EQ(spec.partition.group_size, 4);
  EXPECT_EQ(Resolved("aqlm", {{"storage", "table"}, {"granularity", "row"}}).partition.granularity,
            Granularity::kRow);
}

TEST(FillDependentFieldsTest, AdamTakesMoreStepsThanConjugateGradients) {
  EXPECT_EQ(Resolved("aqlm").solve.update_steps, 3);
  EXPECT_EQ(Resolved("aqlm").fit.refine_rounds, 3);
  EXPECT_EQ(Resolved("aqlm", {{"scheme", "3x8"}}).fit.refine_rounds, 0);
  EXPECT_EQ(Resolved("aqlm", {{"scheme", "3x8"}, {"refine-rounds", "2"}}).fit.refine_rounds, 2);
  EXPECT_EQ(Resolved("aqlm", {{"update", "adam"}}).solve.update_steps, 100);
  EXPECT_EQ(Resolved("aqlm", {{"update", "adam"}, {"update-steps", "7"}}).solve.update_steps, 7);
  EXPECT_EQ(Resolved("aqlm", {{"update", "conjugate"}}).solve.update_steps, 3);
  EXPECT_EQ(Resolved("gptq", {{"update", "adam"}}).solve.update_steps, 3);
}

// Whoever names a scheme has named all four fields, and a later setting lies on top.
TEST(ResolveSpecTest, ASchemeIsFourSettingsInTheirOrder) {
  const auto shape = [](const Settings& settings) {
    const Levels l = Resolved("aqlm", settings).levels;
    return std::vector<int>{l.codebooks, l.codebook_bits, l.in_group, l.out_group};
  };
  EXPECT_THAT(shape({{"scheme", "1x16"}}), ElementsAre(1, 16, 8, 1));
  EXPECT_THAT(shape({{"in-group", "4"}, {"scheme", "1x16"}}), ElementsAre(1, 16, 8, 1));
  EXPECT_THAT(shape({{"scheme", "1x16"}, {"in-group", "4"}}), ElementsAre(1, 16, 4, 1));
  const absl::Status status = ResolveSpec("aqlm", {{"scheme", "2x8g8k1"}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("scheme: \"2x8g8k1\" is not MxB[gI][oO]"));
}

TEST(FillDependentFieldsTest, ASecondTimeChangesNothing) {
  for (const Method* method : AllMethods()) {
    for (const Settings& settings :
         std::vector<Settings>{{{"solver", "gptq"}},
                               {{"solver", "beam"}, {"update", "adam"}, {"storage", "table"}}}) {
      Spec spec = Resolved(method->name, settings);
      const Spec once = spec;
      std::vector<const SpecField*> all;
      for (const SpecField& field : SpecFields()) all.push_back(&field);
      FillDependentFields(all, &spec);
      for (const SpecField& field : SpecFields()) {
        EXPECT_EQ(field.get(spec), field.get(once)) << method->name << " " << field.path;
      }
    }
  }
}

}  // namespace
}  // namespace quantd
