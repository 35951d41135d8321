// Measure: many candidates on one upload.
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/reference/shuffled_executor.h"
#include "tests/reference/synthetic.h"
#include "tests/unit/workers/engine/job_fixture.h"
#include "workers/compose/group_solver.h"
#include "workers/methods/resolve.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kColumns = 128;

using Settings = std::vector<std::pair<std::string, std::string>>;

Spec SpecOf(const std::string& method, const Settings& settings) {
  const absl::StatusOr<Spec> spec = ResolveSpec(method, settings);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : Spec();
}

Spec Bits(const std::string& method, int bits, int group = 64) {
  return SpecOf(method, {{"bits", std::to_string(bits)}, {"group-size", std::to_string(group)}});
}

class MeasureJobTest : public JobFixture {
 protected:
  MeasureJobTest() {
    const int64_t rows[] = {128, 64, 192};
    const char* const names[] = {"q.weight", "k.weight", "v.weight"};
    for (int w = 0; w < 3; ++w) {
      uploads_.push_back(F32(names[w], Role::kWeight, {rows[w], kColumns},
                             reference::HeavyTailedWeight(rows[w], kColumns, 31 + w)));
    }
    x_ = F32("x", Role::kActivations, {512, kColumns},
             reference::CorrelatedActivations(512, kColumns, 41));
  }

  std::vector<Upload> WithActivations() const {
    std::vector<Upload> all = uploads_;
    all.push_back(x_);
    return all;
  }

  static MeasureJob JobOf(const std::vector<Upload>& uploads, std::vector<Spec> candidates) {
    MeasureJob job;
    job.id = "measure";
    job.layout = "plain";
    job.candidates = std::move(candidates);
    for (const Upload& u : uploads) job.tensors.push_back(u.decl);
    return job;
  }

  // Report [weight][candidate].
  static std::vector<std::vector<TensorReport>> Table(const JobResult& result, size_t candidates) {
    std::vector<std::vector<TensorReport>> table;
    for (const CandidateReport& r : result.candidates) {
      if (r.candidate == 0) table.emplace_back();
      EXPECT_EQ(r.candidate, static_cast<int>(table.back().size()));
      table.back().push_back(r.report);
    }
    for (const auto& row : table) EXPECT_EQ(row.size(), candidates);
    return table;
  }

  static void ExpectSameFigures(const TensorReport& a, const TensorReport& b) {
    EXPECT_EQ(a.outcome, b.outcome);
    EXPECT_EQ(a.all_in_bits_per_weight, b.all_in_bits_per_weight);
    EXPECT_EQ(a.code_bits_per_weight, b.code_bits_per_weight);
    EXPECT_EQ(a.error.weight_mse, b.error.weight_mse);
    EXPECT_EQ(a.error.weight_relative_error, b.error.weight_relative_error);
    EXPECT_EQ(a.error.output_relative_error, b.error.output_relative_error);
    EXPECT_EQ(a.error.max_abs_error, b.error.max_abs_error);
    EXPECT_EQ(a.notes, b.notes);
  }

  std::vector<Upload> uploads_;
  Upload x_;
};

// Those that share a preparation, and those that change H on their way.
std::vector<Spec> ManyCandidates() {
  std::vector<Spec> list = {
      Bits("gptq", 4),
      Bits("awq", 4),
      Bits("gptq", 3),
      Bits("quarot", 4),
      Bits("rtn", 3),
      Bits("quarot", 3),
      Bits("gptq", 2, 32),
      Bits("adadim-gptq", 3),
      Bits("owq", 3),
      SpecOf("nvfp4", {}),
      Bits("rtn", 8),
      SpecOf("kmeans", {{"bits", "3"}}),
      SpecOf("gptq", {{"bits", "4"}, {"fit", "clip-search"}, {"group-size", "32"}}),
      SpecOf("gptq", {{"bits", "4"}, {"order", "group-aware"}, {"group-size", "32"}}),
      SpecOf("mxint4", {{"group-size", "16"}}),
      SpecOf("mxint4", {{"granularity", "row"}}),
      SpecOf("spqr", {})};
  list.push_back(SpecOf(
      "aqlm",
      {{"codebook-bits", "4"}, {"in-group", "4"}, {"rounds", "2"}, {"fit-iterations", "5"}}));
  return list;
}

TEST_F(MeasureJobTest, FiguresAreThoseOfAQuantizeJobForEveryCandidate) {
  const std::vector<Upload> uploads = WithActivations();
  const std::vector<Spec> candidates = ManyCandidates();
  const absl::StatusOr<JobResult> measured = Run(JobOf(uploads, candidates), uploads);
  ASSERT_TRUE(measured.ok()) << measured.status();
  EXPECT_TRUE(measured->outputs.empty());
  EXPECT_TRUE(measured->report.tensors.empty());
  EXPECT_EQ(measured->report.calibration_tokens, 512);
  const auto table = Table(*measured, candidates.size());
  ASSERT_EQ(table.size(), 3u);
  for (size_t c = 0; c < candidates.size(); ++c) {
    SCOPED_TRACE(candidates[c].method + " " + std::to_string(c));
    QuantizeJob job = RtnJob(uploads);
    job.layout = "plain";
    job.spec = candidates[c];
    const absl::StatusOr<JobResult> quantized = Run(job, uploads);
    ASSERT_TRUE(quantized.ok()) << quantized.status();
    for (size_t w = 0; w < 3; ++w) {
      ExpectSameFigures(table[w][c], quantized->report.tensors[w]);
      EXPECT_FALSE(table[w][c].rtn_baseline.has_value());
      EXPECT_TRUE(table[w][c].packed_digests.empty());
      EXPECT_EQ(table[w][c].source_digest, quantized->report.tensors[w].source_digest);
    }
  }
  EXPECT_EQ(progress_.last, 1.0);
}

TEST_F(MeasureJobTest, WithoutStatisticsThereAreWeightErrorsAlone) {
  const absl::StatusOr<JobResult> result =
      Run(JobOf(uploads_, {Bits("rtn", 4), Bits("rtn", 2)}), uploads_);
  ASSERT_TRUE(result.ok()) << result.status();
  for (const auto& row : Table(*result, 2)) {
    EXPECT_FALSE(row[0].error.output_relative_error.has_value());
    EXPECT_LT(row[0].error.weight_relative_error, row[1].error.weight_relative_error);
  }
}

TEST_F(MeasureJobTest, FiguresDependNeitherOnThreadsNorOnTheCut) {
  const std::vector<Upload> uploads = WithActivations();
  const MeasureJob job = JobOf(uploads, ManyCandidates());
  const absl::StatusOr<JobResult> one = Run(job, uploads);
  reference::ShuffledExecutor shuffled(4, 11);
  const absl::StatusOr<JobResult> other = Run(job, uploads, 1000, &shuffled);
  ASSERT_TRUE(one.ok() && other.ok());
  ASSERT_EQ(one->candidates.size(), other->candidates.size());
  for (size_t i = 0; i < one->candidates.size(); ++i) {
    ExpectSameFigures(one->candidates[i].report, other->candidates[i].report);
  }
}

TEST_F(MeasureJobTest, ACandidateThatDoesNotFitAWeightIsRejectedThereAlone) {
  // 128 does not divide the 64 and 192 rows that groups down columns are cut from.
  const std::vector<Spec> candidates = {
      Bits("rtn", 4), SpecOf("rtn", {{"group-axis", "in"}, {"group-size", "128"}})};
  const absl::StatusOr<JobResult> result = Run(JobOf(uploads_, candidates), uploads_);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto table = Table(*result, 2);
  EXPECT_EQ(table[0][1].outcome, Outcome::kOk);
  for (const size_t w : {1, 2}) {
    EXPECT_EQ(table[w][0].outcome, Outcome::kOk);
    EXPECT_EQ(table[w][1].outcome, Outcome::kRejected);
    EXPECT_THAT(table[w][1].reason, HasSubstr("rows"));
  }
  MeasureJob job = JobOf(uploads_, {Bits("rtn", 4), SpecOf("nf4", {})});
  job.layout = "compressed-tensors";
  const absl::StatusOr<JobResult> layout = Run(job, uploads_);
  ASSERT_TRUE(layout.ok()) << layout.status();
  for (const auto& row : Table(*layout, 2)) {
    EXPECT_EQ(row[0].outcome, Outcome::kOk);
    EXPECT_EQ(row[1].outcome, Outcome::kRejected);
  }
}

TEST_F(MeasureJobTest, AWeightThatIsNotFiniteHasNoFiguresAndSpoilsNoOthers) {
  const std::vector<Spec> candidates = {Bits("awq", 4), Bits("gptq", 4), SpecOf("nvfp4", {})};
  std::vector<Upload> uploads = WithActivations();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(uploads[1].bytes.data() + 4 * (3 * kColumns + 5), &nan, sizeof nan);
  const absl::StatusOr<JobResult> spoilt = Run(JobOf(uploads, candidates), uploads);
  ASSERT_TRUE(spoilt.ok()) << spoilt.status();
  std::vector<Upload> without = {uploads[0], uploads[2], uploads[3]};
  const absl::StatusOr<JobResult> clean = Run(JobOf(without, candidates), without);
  ASSERT_TRUE(clean.ok()) << clean.status();
  const auto table = Table(*spoilt, 3), others = Table(*clean, 3);
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_EQ(table[1][c].outcome, Outcome::kRejected);
    EXPECT_THAT(table[1][c].reason, HasSubstr("not finite at [3, 5]"));
    ExpectSameFigures(table[0][c], others[0][c]);
    ExpectSameFigures(table[2][c], others[1][c]);
  }
}

TEST_F(MeasureJobTest, RefusesWhatNoWeightCouldBeMeasuredUnder) {
  const auto refusal = [&](const std::vector<Upload>& uploads, std::vector<Spec> candidates) {
    return Job::Create(JobOf(uploads, std::move(candidates)), JobLimits(), 2).status();
  };
  absl::Status status = refusal(uploads_, {});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("candidates: 0"));
  status = refusal(uploads_, {Bits("rtn", 4), Bits("gptq", 4)});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("candidates[1]: method gptq needs a HESSIAN"));
  Spec broken = Bits("rtn", 4);
  broken.levels.bits = 1;
  status = refusal(uploads_, {broken});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("candidates[0]: "));
  std::vector<Upload> fisher = uploads_;
  fisher.push_back(F32("f", Role::kFisher, {128, kColumns}, std::vector<float>(128 * kColumns)));
  status = refusal(fisher, {Bits("rtn", 4), Bits("rtn", 3)});
  EXPECT_THAT(status.message(), HasSubstr("role FISHER is of no use to any candidate"));
}

TEST_F(MeasureJobTest, StopsWhenCancelled) {
  const std::vector<Upload> uploads = WithActivations();
  cancel_.Cancel(absl::StatusCode::kCancelled);
  EXPECT_EQ(Run(JobOf(uploads, {Bits("gptq", 4)}), uploads).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(MeasureJobTest, CandidatesAddWorkAndHardlyMemory) {
  const std::vector<Upload> uploads = WithActivations();
  const auto cost = [&](std::vector<Spec> candidates) {
    return (*Job::Create(JobOf(uploads, std::move(candidates)), JobLimits(), 2))->cost();
  };
  const Cost one = cost({Bits("gptq", 4)}), two = cost({Bits("gptq", 4), Bits("gptq", 3)});
  EXPECT_LT(two.peak_bytes - one.peak_bytes, 16u << 10);  // reports
  EXPECT_GT(two.flops, one.flops);
  EXPECT_LT(two.flops, 2 * one.flops);  // H is folded and factored once
  EXPECT_EQ(one.output_bytes, 0u);
  // A rotation needs an H of its own.
  EXPECT_GE(cost({Bits("quarot", 4)}).peak_bytes, one.peak_bytes + 4 * kColumns * kColumns);
}

TEST(GroupSolverServesTest, SpecsThatPrepareAGroupAlike) {
  const auto serves = [](const Spec& a, const Spec& b) {
    const bool there = GroupSolver::Serves(a, b, kColumns);
    EXPECT_EQ(there, GroupSolver::Serves(b, a, kColumns));
    return there;
  };
  const Spec gptq = Bits("gptq", 4);
  EXPECT_TRUE(serves(gptq, Bits("gptq", 2, 32)));
  EXPECT_TRUE(serves(gptq, SpecOf("gptq", {{"granularity", "row"}, {"symmetry", "asymmetric"}})));
  EXPECT_TRUE(serves(Bits("rtn", 4), SpecOf("kmeans", {{"bits", "3"}})));
  EXPECT_TRUE(serves(Bits("quarot", 4), Bits("quarot", 3)));
  EXPECT_FALSE(serves(gptq, Bits("rtn", 4)));
  EXPECT_FALSE(serves(gptq, SpecOf("gptq", {{"damping", "0.1"}})));
  EXPECT_FALSE(serves(gptq, SpecOf("gptq", {{"order", "natural"}})));
  EXPECT_FALSE(serves(gptq, SpecOf("gptq", {{"timing", "dynamic"}})));
  EXPECT_FALSE(serves(Bits("awq", 4), Bits("awq", 3)));
  EXPECT_FALSE(serves(SpecOf("nvfp4", {}), SpecOf("nvfp4", {})));
  EXPECT_FALSE(serves(Bits("owq", 4), Bits("owq", 3)));
  const Settings aware = {{"order", "group-aware"}, {"group-size", "64"}};
  EXPECT_TRUE(
      serves(SpecOf("gptq", aware),
             SpecOf("gptq", {{"order", "group-aware"}, {"group-size", "64"}, {"bits", "3"}})));
  EXPECT_FALSE(serves(SpecOf("gptq", aware),
                      SpecOf("gptq", {{"order", "group-aware"}, {"group-size", "32"}})));
  EXPECT_TRUE(GroupSolver::KeepsInputs(gptq));
  EXPECT_FALSE(GroupSolver::KeepsInputs(Bits("quarot", 4)));
}

}  // namespace
}  // namespace quantd
