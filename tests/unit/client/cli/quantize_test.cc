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

TEST(LayerTableTest, ShowsBothErrorsAndTheReason) {
  LayerRecord ok;
  ok.report.name = "a.q_proj.weight";
  ok.report.outcome = Outcome::kOk;
  ok.report.rows = 8;
  ok.report.cols = 16;
  ok.report.all_in_bits_per_weight = 4.125;
  ok.report.error.output_relative_error = 0.0125;
  ok.report.rtn_baseline = ErrorMeasures();
  ok.report.rtn_baseline->output_relative_error = 0.025;
  ok.spec.method = "gptq";
  LayerRecord rejected = ok;
  rejected.report.name = "a.k_proj.weight";
  rejected.report.outcome = Outcome::kRejected;
  rejected.report.reason = "NaN at index 3";
  const std::string table = LayerTable({ok, rejected});
  EXPECT_THAT(table, HasSubstr("a.q_proj   8x16  gptq       4  4.125  outputs      0.025  0.0125"));
  EXPECT_THAT(table, HasSubstr("REJECTED: NaN at index 3"));
}

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
  flags.spec.group_size = "32";
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

}  // namespace
}  // namespace quantd::cli
