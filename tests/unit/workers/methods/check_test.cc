#include "workers/methods/check.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "workers/core/spec_fields.h"
#include "workers/methods/method.h"
#include "workers/methods/resolve.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

using Settings = std::vector<std::pair<std::string, std::string>>;

struct Case {
  const char* method;
  Settings settings;
  const char* fragment;  // of the message; empty: accepted
};

std::string Text(const Case& one) {
  std::string text = one.method;
  for (const auto& [key, value] : one.settings) text += " " + key + "=" + value;
  return text;
}

absl::Status Check(const Case& one) {
  const absl::StatusOr<Spec> spec = ResolveSpec(one.method, one.settings);
  EXPECT_TRUE(spec.ok()) << Text(one) << ": " << spec.status();
  return spec.ok() ? CheckSpec(*spec) : absl::OkStatus();
}

class CheckSpecRefusesTest : public ::testing::TestWithParam<Case> {};

TEST_P(CheckSpecRefusesTest, WithFieldAndReason) {
  const absl::Status status = Check(GetParam());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << Text(GetParam());
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().fragment)) << Text(GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Levels, CheckSpecRefusesTest,
    ::testing::ValuesIn(std::vector<Case>{
        {"rtn",
         {{"levels", "minifloat"}, {"format", "e2m1"}, {"bits", "8"}},
         "spec.levels.bits: e2m1 has 4 bits, not 8"},
        {"nf4", {{"bits", "3"}}, "spec.levels.bits: nf4 has 4 bits, not 3"},
        {"fineq", {{"bits", "2"}}, "spec.levels.bits: cluster has 3 bits, not 2"},
        {"rtn",
         {{"levels", "learned-table"}, {"fit", "min-max"}},
         "spec.fit.kind: learned-table levels are not found by min-max"},
        {"rtn",
         {{"fit", "k-means"}},
         "spec.fit.kind: affine-int levels are not found by k-means; k-means goes with"},
        {"rtn",
         {{"levels", "binary-coding"}, {"fit", "min-max"}},
         "spec.fit.kind: binary-coding levels are not found by min-max"},
        {"rtn",
         {{"fit", "binary-search"}},
         "spec.fit.kind: affine-int levels are not found by binary-search; binary-search goes"},
        {"gptqt", {{"fine-bits", "3"}}, "spec.fit.fine_bits: 3 is not above spec.levels.bits 3"},
        {"rtn", {{"fit", "hqq"}}, "spec.fit.kind: hqq looks for a real zero point"},
        {"hqq", {{"norm", "1.5"}}, "spec.fit.norm: hqq wants a norm in (0, 1], not 1.5"},
        {"rtn",
         {{"fit", "shrink-search"}, {"norm", "0.5"}},
         "spec.fit.norm: shrink search wants a norm in [1, 4], not 0.5"},
    }));

INSTANTIATE_TEST_SUITE_P(
    Partition, CheckSpecRefusesTest,
    ::testing::ValuesIn(std::vector<Case>{
        {"rtn",
         {{"granularity", "row"}, {"group-axis", "in"}},
         "spec.partition.axis: in needs granularity group"},
        {"adadim-rtn", {{"granularity", "tensor"}}, "spec.partition.axis: adaptive needs"},
        {"rtn", {{"strided", "true"}}, "spec.partition.strided: goes with group-axis in"},
        {"hqq",
         {{"group-axis", "in"}, {"strided", "true"}, {"tail", "short-last-group"}},
         "spec.partition.strided: wants tail reject and solver rtn"},
        {"gptq",
         {{"group-axis", "in"}, {"strided", "true"}},
         "spec.partition.strided: wants tail reject and solver rtn"},
        {"fineq", {{"group-axis", "in"}}, "spec.levels.kind: clusters lie along a row"},
        {"fineq", {{"granularity", "column"}}, "spec.levels.kind: clusters lie along a row"},
        {"fineq", {{"group-axis", "adaptive"}}, "spec.levels.kind: clusters lie along a row"},
        {"gptqt", {{"granularity", "tensor"}}, "spec.levels.kind: binary coding has one set"},
        {"gptqt", {{"granularity", "column"}}, "spec.levels.kind: binary coding has one set"},
        {"gptqt",
         {{"granularity", "group"}, {"group-axis", "adaptive"}},
         "spec.levels.kind: binary coding has one set"},
        {"hqq", {{"granularity", "tensor"}}, "spec.fit.kind: hqq fits rows, columns and groups"},
        {"awq", {{"granularity", "row"}}, "spec.fit.kind: clip-search reads the block of H"},
        {"rtn",
         {{"fit", "clip-search"}, {"group-axis", "in"}},
         "spec.fit.kind: clip-search is for groups along rows"},
        {"rtn",
         {{"fit", "clip-search"}, {"levels", "minifloat"}},
         "spec.fit.kind: clip-search is for affine levels, not minifloat"},
    }));

INSTANTIATE_TEST_SUITE_P(
    Storage, CheckSpecRefusesTest,
    ::testing::ValuesIn(std::vector<Case>{
        {"kmeans", {{"storage", "e8m0"}}, "spec.storage.kind: e8m0 stores scales; tables are"},
        {"gptqt", {{"storage", "nested"}}, "spec.storage.kind: nested stores scales"},
        {"mxint8", {{"symmetry", "asymmetric"}}, "spec.storage.kind: e8m0 scales have no zero"},
        {"mxint8", {{"symmetry", "symmetric-full"}}, "spec.storage.kind: e8m0 scales have no sign"},
        {"nvfp4", {{"granularity", "row"}}, "spec.storage.kind: e4m3 is for symmetric levels"},
        {"nvfp4", {{"fit", "shrink-search"}}, "with fit min-max"},
        {"nvfp4", {{"group-axis", "in"}}, "in static groups along rows"},
        {"nf4",
         {{"storage", "nested"}, {"solver", "gptq"}, {"timing", "dynamic"}},
         "spec.storage.kind: nested is for symmetric levels in static groups"},
        {"rtn",
         {{"storage", "nested"}, {"symmetry", "asymmetric"}},
         "spec.storage.kind: nested is for symmetric levels"},
        {"rtn", {{"storage", "int"}}, "spec.storage.kind: int quantizes scales and real zeros"},
        {"spqr", {{"zero", "integer"}}, "spec.storage.kind: int quantizes scales and real zeros"},
        {"spqr", {{"granularity", "row"}}, "spec.storage.kind: int quantizes scales and real"},
        {"spqr", {{"group-axis", "in"}}, "spec.storage.kind: int quantizes scales and real"},
        {"mxfp8", {{"granularity", "tensor"}}, "spec.storage.kind: e8m0 is for many scales"},
    }));

INSTANTIATE_TEST_SUITE_P(
    Sweep, CheckSpecRefusesTest,
    ::testing::ValuesIn(std::vector<Case>{
        {"gptq",
         {{"damping", "2"}},
         "spec.solve.damping.fraction: needs fraction <= limit, got 2 and 1"},
        {"gptq", {{"damping-step", "1"}}, "spec.solve.damping.step: 1 is not above 1"},
        {"gptq", {{"damping-step", "1.01"}}, "spec.solve.damping.fraction: step 1.01 from 0.01"},
        {"gptq", {{"levels", "cluster"}}, "spec.solve.solver: clusters are rounded together"},
        {"gptq",
         {{"timing", "dynamic"}, {"granularity", "row"}},
         "spec.solve.timing: dynamic groups need spec.partition.granularity group along rows"},
        {"gptq",
         {{"timing", "dynamic"}, {"group-axis", "in"}},
         "spec.solve.timing: dynamic groups need spec.partition.granularity group along rows"},
        {"gptq",
         {{"timing", "dynamic"}, {"factorization", "ldlq"}},
         "spec.solve.factorization: ldlq reads the untouched weight"},
        {"gptq",
         {{"timing", "dynamic"}, {"order", "group-aware"}},
         "spec.solve.order: group-aware order is for static groups"},
        {"gptq",
         {{"timing", "dynamic"}, {"levels", "learned-table"}},
         "spec.solve.timing: tables of rows are static"},
        {"gptq",
         {{"timing", "dynamic"}, {"descent-passes", "1"}},
         "spec.solve.descent_passes: wants static groups"},
        {"gptq",
         {{"order", "group-aware"}, {"granularity", "row"}},
         "spec.solve.order: group-aware order needs spec.partition.granularity group"},
        {"gptq",
         {{"order", "group-aware"}, {"group-axis", "in"}},
         "spec.solve.order: group-aware order needs spec.partition.granularity group"},
        {"gptaq",
         {{"factorization", "ldlq"}},
         "spec.solve.factorization: the cross moment's feedback needs values"},
        {"sparsegpt", {{"factorization", "ldlq"}}, "spec.solve.factorization: a mask needs values"},
        {"gptaq",
         {{"descent-passes", "1"}},
         "spec.solve.descent_passes: descent knows no cross moment"},
    }));

INSTANTIATE_TEST_SUITE_P(
    Exceptions, CheckSpecRefusesTest,
    ::testing::ValuesIn(std::vector<Case>{
        {"rtn",
         {{"outliers", "threshold"}},
         "spec.exceptions.outliers: threshold looks at the errors of a sweep"},
        {"gptq",
         {{"outliers", "threshold"}, {"factorization", "ldlq"}},
         "spec.exceptions.outliers: threshold looks at the errors of a sweep"},
        {"sparsegpt", {{"mask-kept", "4"}}, "spec.exceptions.mask_kept: 4 of 4 is no mask"},
        {"sparsegpt", {{"mask-kept", "0"}}, "spec.exceptions.mask_kept: 0 of 4 is no mask"},
        {"sparsegpt", {{"mask-of", "0"}}, "spec.exceptions.mask_kept: 2 of 0 is no mask"},
        {"rtn", {{"mask-of", "1"}}, "spec.exceptions.mask_kept: 0 of 1 is no mask"},
        {"sparsegpt",
         {{"symmetry", "asymmetric"}, {"zero", "real"}},
         "spec.exceptions.mask_of: a mask needs an exact zero"},
        {"kmeans",
         {{"mask-kept", "2"}, {"mask-of", "4"}},
         "spec.exceptions.mask_of: a mask needs an exact zero; learned-table levels have none"},
        {"sparsegpt",
         {{"kept-columns", "0.05"}},
         "spec.exceptions.kept_columns: end the sweep, and a mask counts neighbours"},
        {"gwq", {{"granularity", "tensor"}}, "spec.partition.granularity: one set for a tensor"},
        {"spqr", {{"scaling", "awq"}}, "spec.exceptions.outliers: threshold is taken of the"},
        {"kmeans", {{"scaling", "awq"}}, "spec.transform.scaling: awq searches scaled levels"},
        {"gptq",
         {{"fit", "clip-search"}, {"timing", "dynamic"}},
         "spec.fit.kind: clip-search reads blocks of H of neighbouring columns"},
        {"rtn", {{"asymmetric", "0.5"}}, "spec.solve.asymmetric: is feedback inside a sweep"},
        {"quarot",
         {{"rotation-block", "1"}},
         "spec.transform.rotation_block: 1 is no power of two"},
        {"mixquant", {{"bits", "4"}}, "spec.levels.bits: round-off chooses the bits itself"},
        {"sparsegpt", {{"rotation", "both"}}, "spec.exceptions.mask_of: a rotation takes"},
        {"sparsegpt", {{"order", "act-order"}}, "spec.solve.order: a mask counts neighbours"},
        {"sparsegpt", {{"timing", "dynamic"}}, "spec.solve.timing: a mask wants static groups"},
        {"quarot",
         {{"outliers", "range"}},
         "spec.transform.rotation: outliers are chosen in the uploaded basis"},
        {"quarot",
         {{"outliers", "threshold"}},
         "spec.transform.rotation: outliers are chosen in the uploaded basis"},
        {"kmeans",
         {{"importance", "fisher"}, {"rotation", "input"}},
         "spec.transform.rotation: scores of single weights lose their meaning"},
        {"wkv", {{"rotation", "input"}}, "spec.transform.rotation: recent rows are kept"},
        {"fineq", {{"outliers", "range"}}, "spec.levels.kind: clusters have no exceptions"},
        {"fineq", {{"kept-columns", "0.1"}}, "spec.levels.kind: clusters have no exceptions"},
        {"sparsegpt", {{"outliers", "gradient"}}, "spec.exceptions.outliers: do not go with a"},
        {"hqq",
         {{"group-axis", "in"}, {"strided", "true"}, {"recent-rows", "1"}},
         "spec.partition.strided: exceptions want rows in their own order"},
        {"owq",
         {{"descent-passes", "1"}},
         "spec.solve.descent_passes: descent knows no exceptions"},
    }));

INSTANTIATE_TEST_SUITE_P(
    Transform, CheckSpecRefusesTest,
    ::testing::ValuesIn(std::vector<Case>{
        {"smoothquant",
         {{"granularity", "column"}},
         "spec.transform.scaling: groups down a column have scales of their own"},
        {"awq",
         {{"fit", "min-max"}, {"group-axis", "in"}},
         "spec.transform.scaling: groups down a column have scales of their own"},
        {"awq",
         {{"fit", "min-max"}, {"group-axis", "adaptive"}},
         "spec.transform.scaling: groups down a column have scales of their own"},
        {"smoothquant", {{"rotation", "input"}}, "spec.transform.scaling: a rotation mixes"},
        {"quarot",
         {{"rotation-block", "48"}},
         "spec.transform.rotation_block: 48 is no power of two"},
        {"rtn",
         {{"rotation", "both"}, {"group-axis", "in"}, {"strided", "true"}},
         "spec.partition.strided: does not go with a rotation of outputs"},
        {"qep",
         {{"asymmetric", "0.5"}},
         "spec.transform.correction: does not go with spec.solve.asymmetric: both answer the same"},
        {"gptaq", {{"correction", "qep"}}, "both answer the same drift"},
    }));

INSTANTIATE_TEST_SUITE_P(
    Allocation, CheckSpecRefusesTest,
    ::testing::ValuesIn(std::vector<Case>{
        {"gptq",
         {{"allocation", "column-score"}},
         "spec.allocation.kind: column-score gives columns tables of their own"},
        {"kmeans", {{"allocation", "column-score"}}, "spec.allocation.kind: column-score gives"},
        {"claq",
         {{"bits", "4"}, {"high-bits", "3"}},
         "spec.allocation.high_bits: 3 is below spec.levels.bits 4"},
        {"nf4", {{"allocation", "round-off"}}, "spec.allocation.kind: round-off varies the bits"},
        {"mixquant",
         {{"granularity", "group"}, {"group-axis", "adaptive"}},
         "spec.allocation.kind: one adaptive axis at a time"},
    }));

INSTANTIATE_TEST_SUITE_P(
    Fixed, CheckSpecRefusesTest,
    ::testing::ValuesIn(std::vector<Case>{
        {"rtn", {{"solver", "gptq"}}, "spec.solve.solver: method rtn is rtn, not gptq"},
        {"hqq", {{"fit", "min-max"}}, "spec.fit.kind: method hqq is hqq, not min-max"},
        {"mxint8", {{"bits", "4"}}, "spec.levels.bits: method mxint8 is 8, not 4"},
    }));

INSTANTIATE_TEST_SUITE_P(
    Additive, CheckSpecRefusesTest,
    ::testing::ValuesIn(std::vector<Case>{
        {"aqlm",
         {{"levels", "affine-int"}},
         "spec.levels.kind: method aqlm is additive, not affine"},
        {"aqlm",
         {{"fit", "k-means"}},
         "spec.fit.kind: additive levels are not found by k-means; k-means goes with learned"},
        {"aqlm",
         {{"fit", "min-max"}},
         "spec.fit.kind: additive levels are not found by min-max; residual-k-means and given"},
        {"rtn",
         {{"fit", "residual-k-means"}},
         "spec.fit.kind: affine-int levels are not found by residual-k-means; residual-k-means"},
        {"hqq", {{"solver", "beam"}, {"levels", "affine"}}, "spec.solve.solver: beam searches"},
        {"aqlm", {{"solver", "gptq"}}, "spec.solve.solver: additive levels need beam, not gptq"},
        {"aqlm", {{"solver", "rtn"}}, "spec.solve.solver: additive levels need beam, not rtn"},
        {"rtn", {{"storage", "table"}}, "spec.storage.kind: table keeps scales of additive levels"},
        {"rtn",
         {{"refine-rounds", "3"}},
         "spec.fit.refine_rounds: 3 speaks to fit residual-k-means alone"},
        {"hqq",
         {{"points-per-center", "64"}},
         "spec.fit.points_per_center: 64 speaks to fit residual-k-means alone"},
        {"aqlm", {{"changed-share", "0.25"}}, "spec.solve.changed_share: 0.25 goes with fit given"},
        {"gptq", {{"changed-share", "0.25"}}, "spec.solve.changed_share: 0.25 goes with fit given"},
        {"aqlm",
         {{"scheme", "16x16g64o2"}},
         "spec.levels.codebook_bits: 16: 16 x 2^16 entries of 2 x 64 are 134217728 numbers, at "
         "most 67108864"},
        {"aqlm",
         {{"granularity", "tensor"}},
         "spec.partition.granularity: additive levels have a scale for each out group (row) or "
         "for each patch (group), not tensor"},
        {"aqlm", {{"granularity", "column"}}, "spec.partition.granularity: additive levels have"},
        {"aqlm",
         {{"granularity", "group"}, {"group-axis", "in"}},
         "spec.partition.axis: additive levels have patches along rows: out, not in"},
        {"aqlm",
         {{"granularity", "group"}, {"group-size", "128"}},
         "spec.partition.group_size: 128 is not spec.levels.in_group 8"},
        {"aqlm",
         {{"granularity", "group"}, {"tail", "short-last-group"}},
         "spec.partition.tail: additive levels have whole patches only"},
        {"aqlm",
         {{"storage", "bf16"}},
         "spec.storage.kind: additive levels keep scales as f16 or table, not bf16"},
        {"aqlm",
         {{"storage", "table"}, {"granularity", "row"}},
         "spec.storage.kind: table is for the many scales of patches"},
        {"aqlm",
         {{"scaling", "awq"}},
         "spec.transform.scaling: awq does not go with additive levels"},
        {"aqlm", {{"rotation", "both"}}, "spec.transform.rotation: both does not go with additive"},
        {"aqlm", {{"correction", "qep"}}, "spec.transform.correction: qep does not go with"},
        {"aqlm", {{"outliers", "range"}}, "spec.exceptions.outliers: range does not go with"},
        {"aqlm", {{"kept-columns", "0.1"}}, "spec.exceptions.kept_columns: 0.1 does not go with"},
        {"aqlm",
         {{"mask-kept", "2"}, {"mask-of", "4"}},
         "spec.exceptions.mask_of: 4 does not go with additive levels"},
        {"aqlm", {{"recent-rows", "7"}}, "spec.exceptions.recent_rows: 7 does not go with"},
        {"aqlm", {{"allocation", "round-off"}}, "spec.allocation.kind: round-off does not go with"},
        {"aqlm", {{"asymmetric", "0.5"}}, "spec.solve.asymmetric: is feedback inside a sweep"},
    }));

// Combinations that look unusual and make sense.
TEST(CheckSpecTest, AcceptsWhatGoesTogether) {
  for (const Case& one : std::vector<Case>{
           {"hqq", {{"group-axis", "in"}, {"strided", "true"}}, ""},
           {"rtn", {{"granularity", "column"}}, ""},
           {"gptq", {{"timing", "dynamic"}}, ""},
           {"gptq", {{"levels", "learned-table"}, {"granularity", "tensor"}}, ""},
           {"gptq", {{"levels", "minifloat"}, {"format", "e3m2"}}, ""},
           {"nf4", {{"storage", "nested"}, {"solver", "gptq"}}, ""},
           {"quarot", {{"kept-columns", "0.01"}}, ""},
           {"quarot", {{"correction", "qep"}}, ""},
           {"gptq", {{"mask-kept", "2"}, {"mask-of", "4"}, {"order", "natural"}}, ""},
           {"kmeans", {{"importance", "fisher"}, {"outliers", "fisher"}}, ""},
           {"rtn", {{"damping", "5"}, {"damping-step", "1"}}, ""},  // nobody factors anything
           {"gptq", {{"damping", "0"}, {"damping-limit", "0"}}, ""},
           {"awq", {{"solver", "gptq"}}, ""},
           {"aqlm", {{"scheme", "1x16"}, {"beam", "8"}, {"rounds", "0"}, {"tolerance", "0"}}, ""},
           {"aqlm", {{"scheme", "16x16g64"}}, ""},
           {"aqlm", {{"scheme", "4x8g16o64"}, {"update", "adam"}, {"adam", "code"}}, ""},
           {"aqlm", {{"granularity", "group"}}, ""},
           {"aqlm", {{"storage", "table"}, {"scale-bits", "2"}}, ""},
           {"aqlm", {{"refine-rounds", "3"}, {"points-per-center", "100"}}, ""},
           {"aqlm", {{"fit", "given"}, {"changed-share", "0.1"}}, ""},
           {"aqlm", {{"fit", "given"}, {"points-per-center", "64"}}, ""},  // nothing is trained
           {"aqlm", {{"tail", "short-last-group"}, {"bits", "2"}}, ""},    // nothing reads either
           {"wkv", {{"group-axis", "in"}}, ""}}) {
    const absl::Status status = Check(one);
    EXPECT_TRUE(status.ok()) << Text(one) << ": " << status;
  }
}

TEST(CheckSpecTest, RefusesWhatNoTextCanSay) {
  Spec spec = (*FindMethod("rtn"))->defaults();
  spec.method = "awk";
  EXPECT_THAT(std::string(CheckSpec(spec).message()), HasSubstr("'awk' is not one of rtn, gptq"));
  EXPECT_TRUE(CheckAxes(spec).ok());

  for (const SpecField& field : SpecFields()) {
    Spec bad = (*FindMethod("rtn"))->defaults();
    const bool is_enum = field.type == SpecField::Type::kEnum;
    if (field.type == SpecField::Type::kBool) continue;
    if (field.name == "seed" || field.name == "fit-seed") continue;  // every uint32 is one
    for (const double value :
         is_enum ? std::vector<double>{0, 200} : std::vector<double>{field.min - 1}) {
      field.set(&bad, value);
      const absl::Status status = CheckAxes(bad);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field.path;
      EXPECT_THAT(std::string(status.message()), HasSubstr("spec." + std::string(field.path)));
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr(is_enum ? ": unspecified" : " is not in "));
    }
  }
}

TEST(CheckSpecTest, AxesAloneDoNotAskWhatTheMethodFixes) {
  Spec spec = (*FindMethod("adadim-rtn"))->defaults();
  spec.partition.axis = GroupAxis::kIn;  // as a report's resolved spec says
  EXPECT_FALSE(CheckSpec(spec).ok());
  EXPECT_TRUE(CheckAxes(spec).ok());
}

}  // namespace
}  // namespace quantd
