// Jobs with additive levels, from bytes to bytes.
#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "tests/unit/workers/engine/job_fixture.h"
#include "workers/methods/resolve.h"

namespace quantd {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr int64_t kM = 64;
constexpr int64_t kN = 64;

using Settings = std::vector<std::pair<std::string, std::string>>;

class AdditiveJobTest : public JobFixture {
 protected:
  AdditiveJobTest()
      : w_(reference::HeavyTailedWeight(kM, kN, 41)),
        weight_(F32("q.weight", Role::kWeight, {kM, kN}, w_)),
        x_(F32("x", Role::kActivations, {3 * kN, kN},
               reference::CorrelatedActivations(3 * kN, kN, 42))) {}

  // 2x4 over patches of 1 x 4: 2 bits.
  QuantizeJob JobOf(const std::vector<Upload>& uploads, const Settings& settings) const {
    QuantizeJob job = RtnJob(uploads);
    Settings all = {{"codebook-bits", "4"}, {"in-group", "4"}, {"refine-rounds", "0"}};
    all.insert(all.end(), settings.begin(), settings.end());
    const absl::StatusOr<Spec> spec = ResolveSpec("aqlm", all);
    EXPECT_TRUE(spec.ok()) << spec.status();
    if (spec.ok()) job.spec = *spec;
    job.layout = "plain";
    return job;
  }

  absl::StatusOr<JobResult> RunAqlm(const std::vector<Upload>& uploads, const Settings& settings,
                                    const std::string& layout = "plain") {
    QuantizeJob job = JobOf(uploads, settings);
    job.layout = layout;
    return Run(job, uploads);
  }

  static const Output* Find(const JobResult& result, const std::string& name) {
    for (const Output& o : result.outputs) {
      if (o.decl.name == name) return &o;
    }
    ADD_FAILURE() << "no " << name;
    return nullptr;
  }

  // An output of layout aqlm as an input of another job.
  static Upload Again(const JobResult& result, const std::string& name, Role role, Shape shape) {
    const Output* o = Find(result, name);
    Upload u{{name, role, o->decl.dtype, std::move(shape), std::nullopt, ""}, {}};
    u.bytes.assign(o->bytes.data(), o->bytes.data() + o->bytes.size());
    return u;
  }

  std::vector<float> w_;
  Upload weight_, x_;
};

TEST_F(AdditiveJobTest, ReportsItsBitsItsRoundsAndAnHonestBaseline) {
  const auto result = RunAqlm({weight_, x_}, {});
  ASSERT_TRUE(result.ok()) << result.status();
  const TensorReport& report = result->report.tensors.at(0);
  ASSERT_EQ(report.outcome, Outcome::kOk) << report.reason;
  EXPECT_DOUBLE_EQ(report.code_bits_per_weight, 2.0);
  EXPECT_GT(report.all_in_bits_per_weight, 2.0);
  EXPECT_EQ(report.error.clipped_share, 0.0);
  EXPECT_FALSE(report.solver.has_value());
  EXPECT_TRUE(report.notes.empty());
  EXPECT_LT(*report.error.output_relative_error, 0.5 * *report.rtn_baseline->output_relative_error);

  ASSERT_GE(progress_.rounds.size(), 2u);
  for (size_t i = 0; i < progress_.rounds.size(); ++i) {
    EXPECT_EQ(progress_.rounds[i].weight, 0);
    EXPECT_EQ(progress_.rounds[i].round, static_cast<int>(i) + 1);
    if (i > 0) {
      EXPECT_LE(progress_.rounds[i].loss, progress_.rounds[i - 1].loss);
    }
  }
  // What is stored is rounded after the last round.
  EXPECT_NEAR(*report.error.output_relative_error / progress_.rounds.back().loss, 1.0, 0.05);
  EXPECT_EQ(progress_.last, 1.0);

  // 2-bit asymmetric integers; groups of 128 are rows of 64 here.
  QuantizeJob rtn = RtnJob({weight_, x_});
  rtn.layout = "plain";
  rtn.spec.levels.bits = 2;
  rtn.spec.levels.symmetry = Symmetry::kAsymmetric;
  rtn.spec.partition.tail = TailPolicy::kShortLastGroup;
  const auto baseline = Run(rtn, {weight_, x_});
  ASSERT_TRUE(baseline.ok()) << baseline.status();
  const ErrorMeasures& expected = baseline->report.tensors[0].error;
  EXPECT_EQ(report.rtn_baseline->weight_mse, expected.weight_mse);
  EXPECT_DOUBLE_EQ(*report.rtn_baseline->output_relative_error, *expected.output_relative_error);
}

TEST_F(AdditiveJobTest, WithoutStatisticsAllErrorsCountAlikeAndTheReportSaysSo) {
  const auto result = RunAqlm({weight_}, {});
  ASSERT_TRUE(result.ok()) << result.status();
  const TensorReport& report = result->report.tensors.at(0);
  ASSERT_EQ(report.outcome, Outcome::kOk) << report.reason;
  EXPECT_FALSE(report.error.output_relative_error.has_value());
  EXPECT_THAT(report.notes, Contains(HasSubstr("no statistics")));
  EXPECT_LT(report.error.weight_relative_error, report.rtn_baseline->weight_relative_error);
  EXPECT_NEAR(report.error.weight_relative_error / progress_.rounds.back().loss, 1.0, 0.05);
  // The same as H = I that came with the request.
  std::vector<float> identity(kN * kN);
  for (int64_t i = 0; i < kN; ++i) identity[i * (kN + 1)] = 1.0f;
  const auto given = RunAqlm({weight_, F32("h", Role::kHessian, {kN, kN}, identity)}, {});
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_NEAR(given->report.tensors[0].error.weight_relative_error,
              report.error.weight_relative_error, 0.02 * report.error.weight_relative_error);
}

TEST_F(AdditiveJobTest, TheLayoutOfThePublicLibraryDecodesToTheSame) {
  const std::vector<Upload> uploads = {weight_, x_};
  for (const Settings& settings : {Settings{}, Settings{{"out-group", "2"}}}) {
    QuantizeJob job = JobOf(uploads, settings);
    const auto plain = Run(job, uploads);
    ASSERT_TRUE(plain.ok()) << plain.status();
    const std::vector<float> dense = Dense(job, *plain).at(0);
    job.layout = "aqlm";
    const auto aqlm = Run(job, uploads);
    ASSERT_TRUE(aqlm.ok()) << aqlm.status();
    EXPECT_EQ(Dense(job, *aqlm).at(0), dense);
    EXPECT_EQ(aqlm->report.tensors[0].error.weight_mse, plain->report.tensors[0].error.weight_mse);
  }
}

TEST_F(AdditiveJobTest, WeightsOfAGroupGetTheBytesTheyGetAlone) {
  const Upload other =
      F32("k.weight", Role::kWeight, {32, kN}, reference::HeavyTailedWeight(32, kN, 43));
  const auto both = RunAqlm({weight_, other, x_}, {}), alone = RunAqlm({other, x_}, {});
  ASSERT_TRUE(both.ok() && alone.ok()) << both.status() << alone.status();
  std::vector<std::string> tail = Digests(*both);
  tail.erase(tail.begin(), tail.end() - static_cast<int64_t>(alone->outputs.size()));
  EXPECT_EQ(tail, Digests(*alone));
}

TEST_F(AdditiveJobTest, AWeightThatCannotBeCodedIsRejectedBeforeItIsSolved) {
  std::vector<float> bad = w_;
  bad[7 * kN + 3] = std::numeric_limits<float>::infinity();
  std::vector<float> loud(kM * kN, 1e4f);  // norms of rows are 8e4
  const auto result = RunAqlm({F32("bad.weight", Role::kWeight, {kM, kN}, bad), weight_,
                               F32("loud.weight", Role::kWeight, {kM, kN}, loud)},
                              {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->report.tensors[0].outcome, Outcome::kRejected);
  EXPECT_THAT(result->report.tensors[0].reason, HasSubstr("not finite at [7, 3]"));
  EXPECT_EQ(result->report.tensors[1].outcome, Outcome::kOk);
  EXPECT_EQ(result->report.tensors[2].outcome, Outcome::kRejected);
  EXPECT_THAT(result->report.tensors[2].reason,
              HasSubstr("norm 80000 of the 1 x 64 weights from [0, 0] is beyond the largest f16"));
  for (const RecordedProgress::Round& round : progress_.rounds) EXPECT_EQ(round.weight, 1);
  EXPECT_EQ(progress_.last, 0.0 + 2.0 / 3.0) << "the last weight was not worked on";
  // A patch of four is quiet enough.
  const auto group = RunAqlm({F32("loud.weight", Role::kWeight, {kM, kN}, loud)},
                             {{"granularity", "group"}, {"group-size", "4"}});
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->report.tensors[0].outcome, Outcome::kOk);
}

class GivenTest : public AdditiveJobTest {
 protected:
  void SetUp() override {
    const auto first = RunAqlm({weight_, x_}, {}, "aqlm");
    ASSERT_TRUE(first.ok()) << first.status();
    report_ = first->report.tensors[0];
    books_ = Again(*first, "q.codebooks", Role::kCodebooks, {2, 16, 1, 4});
    scales_ = Again(*first, "q.scales", Role::kScales, {kM});
    codes_ = Again(*first, "q.codes", Role::kCodes, {kM, kN / 4, 2});
    digests_ = Digests(*first);
    QuantizeJob job = JobOf({weight_, x_}, {});
    job.layout = "aqlm";
    dense_ = Dense(job, *first).at(0);
  }

  TensorReport report_;
  Upload books_, scales_, codes_;
  std::vector<std::string> digests_;
  std::vector<float> dense_;
};

TEST_F(GivenTest, WithNoRoundsWhatIsGivenComesBack) {
  const std::vector<Upload> uploads = {weight_, x_, books_, scales_, codes_};
  const auto result = RunAqlm(uploads, {{"fit", "given"}, {"rounds", "0"}}, "aqlm");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Digests(*result), digests_);
  EXPECT_EQ(result->report.tensors[0].error.output_relative_error,
            report_.error.output_relative_error);
}

TEST_F(GivenTest, CodesOfAnyIntegerTypeMeanTheSame) {
  std::vector<int32_t> plain;
  for (const std::byte b : codes_.bytes) plain.push_back(static_cast<int8_t>(b) & 15);
  const Upload i32 = Raw("c", Role::kCodes, DType::kI32, codes_.decl.shape, plain);
  const std::vector<Upload> uploads = {weight_, books_, scales_, i32};
  const auto result = RunAqlm(uploads, {{"fit", "given"}, {"rounds", "0"}}, "aqlm");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Digests(*result), digests_);
}

TEST_F(GivenTest, OneScaleOfAnOutGroupServesAllItsPatches) {
  const std::vector<Upload> uploads = {weight_, books_, scales_, codes_};
  const Settings settings = {
      {"fit", "given"}, {"rounds", "0"}, {"granularity", "group"}, {"group-size", "4"}};
  const QuantizeJob job = JobOf(uploads, settings);
  const auto result = Run(job, uploads);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Dense(job, *result).at(0), dense_);
}

// PV-tuning's need: the weight has moved, codebooks stay, a share of the codes follows.
TEST_F(GivenTest, CodesFollowAWeightThatHasMoved) {
  std::vector<float> moved = w_;
  for (int64_t i = 0; i < kM * kN; ++i) moved[i] += 0.3f * w_[(i * 37 + 11) % (kM * kN)];
  const Upload weight = F32("q.weight", Role::kWeight, {kM, kN}, moved);
  const std::vector<Upload> uploads = {weight, books_, scales_, codes_};
  const auto error = [&](const Settings& more) {
    Settings settings = {{"fit", "given"}};
    settings.insert(settings.end(), more.begin(), more.end());
    const auto result = RunAqlm(uploads, settings, "aqlm");
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return std::pair<double, int64_t>();
    const Output* codes = Find(*result, "q.codes");
    int64_t changed = 0;
    for (int64_t p = 0; p < kM * kN / 4; ++p) {
      changed += std::memcmp(codes->bytes.data() + 2 * p, codes_.bytes.data() + 2 * p, 2) != 0;
    }
    const Upload books = Again(*result, "q.codebooks", Role::kCodebooks, {2, 16, 1, 4});
    EXPECT_EQ(books.bytes, books_.bytes);
    return std::pair<double, int64_t>(result->report.tensors[0].error.weight_relative_error,
                                      changed);
  };
  const auto [before, none] = error({{"rounds", "0"}});
  const auto [some, few] = error({{"changed-share", "0.1"}});
  const auto [all, many] = error({});
  EXPECT_EQ(none, 0);
  EXPECT_GT(few, 0);
  EXPECT_LE(few, kM * kN / 4 / 10 + 1);
  EXPECT_GT(many, few);
  EXPECT_LT(some, before);
  EXPECT_LT(all, some);
}

TEST_F(GivenTest, ASearchWithoutCodesStartsFromTheNearest) {
  const std::vector<Upload> uploads = {weight_, x_, books_, scales_};
  const auto result = RunAqlm(uploads, {{"fit", "given"}}, "aqlm");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_LT(*result->report.tensors[0].error.output_relative_error,
            *report_.rtn_baseline->output_relative_error);
}

TEST_F(GivenTest, WhatCannotBeACodeIsNamed) {
  const auto refused = [&](const Upload& books, const Upload& scales, const Upload& codes,
                           const char* text) {
    const absl::Status s = RunAqlm({weight_, books, scales, codes}, {{"fit", "given"}}).status();
    EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument) << s;
    EXPECT_THAT(std::string(s.message()), HasSubstr(text));
  };
  Upload bad = codes_;
  bad.bytes[5] = std::byte{16};
  refused(books_, scales_, bad, "tensor 'q.codes': code 16 at index 5 is not in -8..15");
  bad = books_;
  bad.bytes[6] = bad.bytes[7] = std::byte{0x7F};
  refused(bad, scales_, codes_, "tensor 'q.codebooks': value nan at index 3 is not finite");
  std::vector<float> huge(kM, 1.0f);
  huge[9] = 1e5f;
  refused(books_, F32("q.scales", Role::kScales, {kM}, huge), codes_,
          "tensor 'q.scales': value 100000 at index 9 is beyond the largest f16");
}

}  // namespace
}  // namespace quantd
