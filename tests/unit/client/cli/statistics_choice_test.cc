#include "client/cli/statistics_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/client/files/model_folder.h"
#include "workers/methods/resolve.h"

namespace quantd::cli {
namespace {

using ::quantd::testing::F32;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Settings = std::vector<std::pair<std::string, std::string>>;

// A selection of one 3 x 4 weight, "a.q", under `method`.
Selection Of(const std::string& method, const Settings& settings = {}) {
  Selection selection;
  selection.choices.resize(1);
  TensorChoice& choice = selection.choices[0];
  choice.name = "a.q.weight";
  choice.module = "a.q";
  choice.quantize = true;
  choice.rows = 3;
  choice.cols = 4;
  choice.spec = *quantd::ResolveSpec(method, settings);
  return selection;
}

class ChooseStatisticsTest : public ::testing::Test {
 protected:
  std::unique_ptr<Statistics> File(const std::vector<quantd::testing::RawTensor>& tensors) {
    quantd::testing::WriteText(folder_ / "s.safetensors", quantd::testing::Serialize(tensors));
    return *Statistics::Open(folder_ / "s.safetensors");
  }

  static std::vector<Role> Sent(const Selection& selection, const Statistics* statistics) {
    const auto found = ChooseStatistics(selection, statistics);
    EXPECT_TRUE(found.ok()) << found.status();
    std::vector<Role> roles;
    if (!found.ok()) return roles;
    for (const Statistic& statistic : found->at("a.q")) roles.push_back(statistic.role);
    return roles;
  }

  quantd::testing::TempFolder folder_;
};

TEST_F(ChooseStatisticsTest, AqlmTakesAHessianWhereThereIsOne) {
  EXPECT_THAT(Sent(Of("aqlm"), nullptr), IsEmpty());
  const auto other = File({F32("b.hessian", {4, 4}, 1)});
  EXPECT_THAT(Sent(Of("aqlm"), other.get()), IsEmpty());
  const auto all = File(
      {F32("a.q.hessian", {4, 4}, 1), F32("a.q.abs_mean", {4}, 2), F32("a.q.fisher", {3, 4}, 3)});
  EXPECT_THAT(Sent(Of("aqlm"), all.get()), ElementsAre(Role::kHessian));
  const auto inputs = File({F32("a.q.activations", {9, 4}, 1), F32("a.q.token_weight", {9}, 2)});
  EXPECT_THAT(Sent(Of("aqlm"), inputs.get()), ElementsAre(Role::kActivations, Role::kTokenWeight));
}

TEST_F(ChooseStatisticsTest, WhatAMethodNeedsAndHasNotIsNamed) {
  const auto status = ChooseStatistics(Of("gptq"), nullptr).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("method gptq needs <module>.hessian"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("give --statistics"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("1 weight\n  a.q.weight"));
}

TEST_F(ChooseStatisticsTest, GivenCodebooksAreNotQuantctlsToGive) {
  const auto h = File({F32("a.q.hessian", {4, 4}, 1)});
  const auto status = ChooseStatistics(Of("aqlm", {{"fit", "given"}}), h.get()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("fit given takes CODEBOOKS and SCALES"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("1 weight\n  a.q.weight"));
}

}  // namespace
}  // namespace quantd::cli
