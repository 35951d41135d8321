#include "client/cli/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "client/cli/exit_codes.h"
#include "client/cli/job_runs.h"
#include "client/cli/quantize_plan.h"
#include "tests/unit/client/files/model_folder.h"

namespace quantd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EndEarlyTest : public ::testing::Test {
 protected:
  EndEarlyTest() {
    env_.out = &out_;
    env_.err = &err_;
    env_.stop = &stop_;
  }
  std::ostringstream out_;
  std::ostringstream err_;
  client::StopSource stop_;
  Environment env_;
};

TEST_F(EndEarlyTest, InterruptedRunsSayHowToGoOn) {
  stop_.Stop();
  EXPECT_EQ(EndEarly(absl::CancelledError("stopped"), 3, 10, true, &env_), kExitInterrupted);
  EXPECT_THAT(err_.str(), HasSubstr("3 of 10"));
  EXPECT_THAT(err_.str(), HasSubstr("--resume"));
}

TEST_F(EndEarlyTest, CodesFollowTheKindOfError) {
  EXPECT_EQ(EndEarly(absl::UnavailableError("x"), 0, 1, true, &env_), kExitRuntime);
  EXPECT_EQ(EndEarly(absl::ResourceExhaustedError("disk"), 0, 1, true, &env_), kExitRuntime);
  EXPECT_EQ(EndEarly(absl::InvalidArgumentError("x"), 0, 1, true, &env_), kExitBadInput);
  EXPECT_EQ(EndEarly(absl::NotFoundError("x"), 0, 1, false, &env_), kExitBadInput);
}

TEST(MakeQuantizePlanTest, StopsBeforeItReadsStatistics) {
  quantd::testing::TempFolder folder;
  quantd::testing::WriteLlama(folder / "model");
  QuantizeFlags flags;
  flags.model_dir = folder / "model";
  flags.statistics = folder / "s.safetensors";
  flags.spec.fields["group-size"] = "32";
  quantd::testing::WriteText(
      flags.statistics,
      quantd::testing::Serialize(
          {quantd::testing::F32("model.layers.0.mlp.down_proj.activations", {8, 128}, 1),
           quantd::testing::F32("misspelt.activations", {8, 128}, 2)}));
  client::StopSource stop;
  const auto plan = MakeQuantizePlan(flags, stop);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT((*plan)->selection.warnings,
              ElementsAre("statistics of 1 of 2 modules match no weight, the first is "
                          "\"misspelt\""));
  EXPECT_THAT((*plan)->left_behind, ElementsAre(".git/", "pytorch_model.bin"));
  stop.Stop();
  EXPECT_EQ(MakeQuantizePlan(flags, stop).status().code(), absl::StatusCode::kCancelled);
}

class QuantizePlanTest : public ::testing::Test {
 protected:
  QuantizePlanTest() {
    quantd::testing::WriteLlama(folder_ / "model");
    flags_.model_dir = folder_ / "model";
    flags_.spec.fields["group-size"] = "32";
  }

  void Give(const std::vector<quantd::testing::RawTensor>& statistics) {
    flags_.statistics = folder_ / "s.safetensors";
    quantd::testing::WriteText(flags_.statistics, quantd::testing::Serialize(statistics));
  }

  // H of every module: one for q/k/v, one for gate/up, and so on.
  static std::vector<quantd::testing::RawTensor> Hessians() {
    std::vector<quantd::testing::RawTensor> out;
    for (const char* layer : {"0", "1"}) {
      const std::string block = std::string("model.layers.") + layer + ".";
      const uint64_t seed = layer[0];
      for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
        out.push_back(
            quantd::testing::F32(block + "self_attn." + name + ".hessian", {64, 64}, seed));
      }
      out.push_back(quantd::testing::F32(block + "self_attn.o_proj.hessian", {64, 64}, seed + 10));
      for (const char* name : {"gate_proj", "up_proj"}) {
        out.push_back(
            quantd::testing::F32(block + "mlp." + name + ".hessian", {64, 64}, seed + 20));
      }
      out.push_back(quantd::testing::F32(block + "mlp.down_proj.hessian", {128, 128}, seed + 30));
    }
    return out;
  }

  absl::StatusOr<std::unique_ptr<QuantizePlan>> Plan() { return MakeQuantizePlan(flags_, stop_); }

  std::vector<size_t> GroupSizes(const QuantizePlan& plan) {
    std::vector<size_t> sizes;
    for (const GroupPlan& group : plan.groups) sizes.push_back(group.modules.size());
    return sizes;
  }

  quantd::testing::TempFolder folder_;
  QuantizeFlags flags_;
  client::StopSource stop_;
};

TEST_F(QuantizePlanTest, ColumnScalesAreFoldedWhereTheGraphAllowsItElseStored) {
  flags_.spec.method = "awq";
  Give(Hessians());
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ((*plan)->layout->name(), "plain");
  EXPECT_EQ((*plan)->folds.folds.size(), 4);
  EXPECT_EQ((*plan)->folded_modules(), 10);
  EXPECT_THAT(GroupSizes(**plan), ElementsAre(1, 2, 3, 1, 1, 2, 3, 1));
  const std::string text = DescribePlan(**plan, RunEstimate(), /*verbose=*/false);
  EXPECT_THAT(text, HasSubstr("column scales of 10 layers go into 4 norms"));
  EXPECT_THAT(text, HasSubstr("model.layers.*.mlp.down_proj"));
  EXPECT_THAT(text, HasSubstr("its input is not the output of a norm"));
}

TEST_F(QuantizePlanTest, PublicLayoutsRefuseScalesThatNoNormTakes) {
  flags_.spec.method = "awq";
  flags_.layout = "compressed-tensors";
  Give(Hessians());
  const auto refused = Plan();
  ASSERT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << refused.status();
  const std::string message(refused.status().message());
  EXPECT_THAT(message, HasSubstr("--layout plain"));
  EXPECT_THAT(message, HasSubstr("--exclude"));
  EXPECT_THAT(message, HasSubstr("model.layers.1.self_attn.o_proj"));
  flags_.exclude = {"o_proj", "down_proj"};
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE((*plan)->folds.stored.empty());
  for (const PlannedTensor& tensor : (*plan)->output->tensors()) {
    EXPECT_EQ(tensor.name.find(".column_scale"), std::string::npos) << tensor.name;
  }
  // Without k, the norm of q, k and v cannot take a scale.
  flags_.exclude.push_back("k_proj");
  EXPECT_THAT(std::string(Plan().status().message()), HasSubstr("k_proj reads the same norm"));
}

TEST_F(QuantizePlanTest, WeightsThatShareATensorScaleTravelTogetherWithoutStatistics) {
  flags_.spec = {};
  flags_.spec.method = "nvfp4";
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ((*plan)->layout->name(), "nvfp4-pack-quantized");
  EXPECT_THAT(GroupSizes(**plan), ElementsAre(1, 2, 3, 1, 1, 2, 3, 1));
  EXPECT_TRUE((*plan)->selection.warnings.empty());
  for (const GroupPlan& group : (*plan)->groups) EXPECT_TRUE(group.tied);
}

TEST_F(QuantizePlanTest, WarnsWhereAFusedSetGetsSeveralTensorScales) {
  flags_.spec = {};
  flags_.spec.method = "nvfp4";
  auto statistics = Hessians();
  statistics[1] = quantd::testing::F32(statistics[1].name, {64, 64}, 999);
  Give(statistics);
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ((*plan)->selection.warnings.size(), 1);
  EXPECT_THAT((*plan)->selection.warnings[0], HasSubstr("one tensor scale for both"));
}

TEST_F(QuantizePlanTest, TheLayoutFollowsFromTheMethod) {
  const std::pair<const char*, const char*> cases[] = {
      {"rtn", "compressed-tensors"},     {"hqq", "plain"},           {"nf4", "bitsandbytes"},
      {"mxfp4", "mxfp4-pack-quantized"}, {"fp8", "float-quantized"}, {"kmeans", "plain"},
  };
  for (const auto& [method, layout] : cases) {
    flags_.spec = {};
    flags_.spec.method = method;
    flags_.keep_unfit = true;  // groups of 128 do not fit every weight of this model
    const auto plan = Plan();
    ASSERT_TRUE(plan.ok()) << method << ": " << plan.status();
    EXPECT_EQ((*plan)->layout->name(), layout) << method;
  }
}

TEST_F(QuantizePlanTest, EachMethodGetsTheStatisticsThatItUses) {
  flags_.spec = {};
  flags_.spec.method = "squeezellm";
  flags_.include = {"layers\\.0\\.self_attn\\.[qk]_proj"};
  const std::string q = "model.layers.0.self_attn.q_proj", k = "model.layers.0.self_attn.k_proj";
  using quantd::testing::F32;
  Give({F32(q + ".hessian", {64, 64}, 1), F32(k + ".hessian", {64, 64}, 1),
        F32(q + ".fisher", {64, 64}, 2), F32(k + ".fisher", {64, 64}, 3),
        F32(q + ".abs_mean", {64}, 4), F32(k + ".abs_mean", {64}, 4)});
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE((*plan)->output->HasLateFiles());
  ASSERT_THAT(GroupSizes(**plan), ElementsAre(2));
  const GroupRequest request =
      MakeRequest(**plan, (*plan)->groups[0].modules, (*plan)->groups[0].statistics, "job");
  std::vector<std::string> sent;
  for (const TensorDecl& tensor : request.job.tensors) {
    sent.push_back(tensor.name + (tensor.of.empty() ? "" : " of " + tensor.of));
  }
  EXPECT_THAT(sent,
              ElementsAre(k + ".weight", q + ".weight", k + ".hessian",
                          k + ".fisher of " + k + ".weight", q + ".fisher of " + q + ".weight"));

  Give({F32(q + ".hessian", {64, 64}, 1), F32(q + ".fisher", {64, 64}, 2)});
  const auto refused = Plan();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("<module>.fisher"));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(k + ".weight"));
}

TEST_F(QuantizePlanTest, TokenWeightsGoWithTheActivations) {
  const std::string q = "model.layers.0.self_attn.q_proj";
  flags_.spec.method = "gptq";
  flags_.include = {"layers\\.0\\.self_attn\\.q_proj"};
  using quantd::testing::F32;
  Give({F32(q + ".hessian", {64, 64}, 1), F32(q + ".activations", {80, 64}, 2),
        F32(q + ".token_weight", {80}, 3)});
  const auto plan = Plan();
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::vector<Statistic>& sent = (*plan)->groups[0].statistics;
  ASSERT_EQ(sent.size(), 2);
  EXPECT_EQ(sent[0].role, Role::kActivations);
  EXPECT_EQ(sent[1].role, Role::kTokenWeight);
}

TEST(DeadlineTest, GrowsWithWorkAndBytesUnlessGiven) {
  ConnectionFlags flags;
  EXPECT_EQ(DeadlineFor(flags, 0, 0), absl::Minutes(20));
  EXPECT_EQ(DeadlineFor(flags, 60, 0), absl::Minutes(30));
  EXPECT_GT(DeadlineFor(flags, 0, 5'000'000'000), absl::Minutes(30));
  flags.deadline_seconds = 5;
  EXPECT_EQ(DeadlineFor(flags, 60, 1), absl::Seconds(5));
}

TEST(JobIdTest, AttemptsDiffer) {
  EXPECT_EQ(JobId("run", 4, 2), "run-4.2");
  EXPECT_NE(NewRunId(), NewRunId());
}

TEST(ServersTextTest, TellsWhatMoreServersGainUntilTheyGainNothing) {
  EXPECT_EQ(ServersText({300, 200}), "");
  EXPECT_EQ(ServersText(std::vector<double>(40, 60)),
            "4 such servers 10 min 00 s, 16 3 min 00 s, 64 1 min 00 s");
  // The longest request bounds them all.
  EXPECT_EQ(ServersText({900, 60, 60, 60}), "4 such servers 15 min 00 s");
  EXPECT_EQ(ServersText({1200}), "");
}

}  // namespace
}  // namespace quantd::cli
