#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/reference/gptq_reference.h"
#include "tests/reference/shuffled_executor.h"
#include "tests/unit/workers/engine/job_fixture.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kM = 96;
constexpr int64_t kN = 256;

class QuantizeJobTest : public JobFixture {
 protected:
  QuantizeJobTest()
      : w_(reference::HeavyTailedWeight(kM, kN, 1)),
        x_(reference::CorrelatedActivations(2 * kN, kN, 2)),
        h_(reference::SecondMoment(x_, 2 * kN, kN)) {}

  std::vector<Upload> WithHessian() const {
    return {F32("q.weight", Role::kWeight, {kM, kN}, w_),
            F32("h", Role::kHessian, {kN, kN}, reference::ToFloat(h_))};
  }

  std::vector<float> w_, x_;
  std::vector<double> h_;
};

TEST_F(QuantizeJobTest, ReportsTheErrorsOfTheDecodedBytes) {
  const std::vector<Upload> uploads = WithHessian();
  for (const char* method : {"rtn", "gptq"}) {
    QuantizeJob job = RtnJob(uploads);
    job.spec = DefaultsOf(method);
    const auto result = Run(job, uploads);
    ASSERT_TRUE(result.ok()) << result.status();
    const TensorReport& report = result->report.tensors.at(0);
    EXPECT_EQ(report.outcome, Outcome::kOk);
    EXPECT_EQ(report.name, "q.weight");

    const std::vector<float> dense = Dense(job, *result).at(0);
    std::vector<double> d(kM * kN), w(w_.begin(), w_.end());
    double d2 = 0, w2 = 0, dw = 0, v2 = 0, worst = 0;
    for (int64_t i = 0; i < kM * kN; ++i) {
      d[i] = w[i] - dense[i];
      d2 += d[i] * d[i];
      w2 += w[i] * w[i];
      v2 += static_cast<double>(dense[i]) * dense[i];
      dw += w[i] * dense[i];
      worst = std::max(worst, std::abs(d[i]));
    }
    EXPECT_NEAR(report.error.weight_mse * kM * kN / d2, 1.0, 1e-6);
    EXPECT_NEAR(report.error.weight_relative_error * w2 / d2, 1.0, 1e-6);
    EXPECT_NEAR(report.error.sqnr_db, 10 * std::log10(w2 / d2), 1e-5);
    EXPECT_NEAR(report.error.cosine, dw / std::sqrt(w2 * v2), 1e-9);
    EXPECT_NEAR(report.error.max_abs_error / worst, 1.0, 1e-6);
    const double relative = reference::Energy(d, kM, kN, h_) / reference::Energy(w, kM, kN, h_);
    ASSERT_TRUE(report.error.output_relative_error.has_value());
    EXPECT_NEAR(*report.error.output_relative_error / relative, 1.0, 2e-3) << method;
  }
}

TEST_F(QuantizeJobTest, GptqReportsItsBaselineAndBeatsIt) {
  const std::vector<Upload> uploads = WithHessian();
  const auto rtn = Run(RtnJob(uploads), uploads), gptq = Run(GptqJob(uploads), uploads);
  ASSERT_TRUE(rtn.ok() && gptq.ok());
  const TensorReport& report = gptq->report.tensors[0];
  const ErrorMeasures& plain = rtn->report.tensors[0].error;
  ASSERT_TRUE(report.rtn_baseline.has_value());
  EXPECT_NEAR(*report.rtn_baseline->output_relative_error / *plain.output_relative_error, 1.0,
              1e-3);
  EXPECT_DOUBLE_EQ(report.rtn_baseline->weight_mse, plain.weight_mse);
  EXPECT_LT(*report.error.output_relative_error, 0.7 * *plain.output_relative_error);
  ASSERT_TRUE(report.solver.has_value());
  EXPECT_EQ(report.solver->damping_retries, 0);
  EXPECT_DOUBLE_EQ(report.solver->damping_fraction, 0.01);
  EXPECT_GT(report.solver->growth, 0.5);
}

TEST_F(QuantizeJobTest, BitsPerWeightCountEveryByte) {
  const std::vector<Upload> uploads = WithHessian();
  const auto result = Run(RtnJob(uploads), uploads);
  ASSERT_TRUE(result.ok());
  uint64_t bytes = 0;
  for (const Output& o : result->outputs) bytes += o.bytes.size();
  EXPECT_DOUBLE_EQ(result->report.tensors[0].code_bits_per_weight, 4);
  EXPECT_DOUBLE_EQ(result->report.tensors[0].all_in_bits_per_weight,
                   8.0 * static_cast<double>(bytes) / (kM * kN));
  // int4 codes, one F16 scale per 128, 16 bytes of shape
  EXPECT_EQ(bytes, kM * kN / 2 + kM * kN / 128 * 2 + 16);
}

TEST_F(QuantizeJobTest, SameBytesForAnyThreadsAndAnyChunking) {
  const std::vector<Upload> uploads = WithHessian();
  for (const QuantizeJob& job : {RtnJob(uploads), GptqJob(uploads)}) {
    const auto one = Run(job, uploads);
    ASSERT_TRUE(one.ok()) << one.status();
    for (const int threads : {2, 8}) {
      reference::ShuffledExecutor shuffled(threads, threads);
      const auto many = Run(job, uploads, 1021, &shuffled);  // pieces that cut elements
      ASSERT_TRUE(many.ok()) << many.status();
      EXPECT_EQ(Digests(*one), Digests(*many));
      EXPECT_EQ(one->report.tensors[0].error.weight_mse, many->report.tensors[0].error.weight_mse);
      EXPECT_EQ(one->report.tensors[0].error.output_relative_error,
                many->report.tensors[0].error.output_relative_error);
    }
  }
}

TEST_F(QuantizeJobTest, TriangleFullMatrixAndActivationsAgree) {
  std::vector<float> triangle;
  for (int64_t i = 0; i < kN; ++i) {
    for (int64_t j = i; j < kN; ++j) triangle.push_back(static_cast<float>(h_[i * kN + j]));
  }
  const Upload weight = F32("q.weight", Role::kWeight, {kM, kN}, w_);
  const std::vector<Upload> full = WithHessian();
  const std::vector<Upload> packed = {weight,
                                      F32("h", Role::kHessian, {kN * (kN + 1) / 2}, triangle)};
  const std::vector<Upload> raw = {F32("x", Role::kActivations, {2 * kN, kN}, x_), weight};
  const auto a = Run(GptqJob(full), full), b = Run(GptqJob(packed), packed, 997),
             c = Run(GptqJob(raw), raw, 1001);
  ASSERT_TRUE(a.ok() && b.ok() && c.ok()) << c.status();
  EXPECT_EQ(Digests(*a), Digests(*b));
  EXPECT_EQ(c->report.calibration_tokens, 2 * kN);
  // F32 products against double sums: the same quality, not always the same code.
  EXPECT_NEAR(*c->report.tensors[0].error.output_relative_error /
                  *a->report.tensors[0].error.output_relative_error,
              1.0, 0.02);
}

TEST_F(QuantizeJobTest, WeightsOfAGroupGetTheBytesTheyGetAlone) {
  const std::vector<float> other = reference::HeavyTailedWeight(64, kN, 9);
  std::vector<Upload> both = WithHessian();
  both.push_back(F32("k.weight", Role::kWeight, {64, kN}, other));
  const std::vector<Upload> alone = {both[2], both[1]};
  const auto group = Run(GptqJob(both), both), single = Run(GptqJob(alone), alone);
  ASSERT_TRUE(group.ok() && single.ok());
  ASSERT_EQ(group->report.tensors.size(), 2u);
  std::vector<std::string> tail = Digests(*group);
  tail.erase(tail.begin(), tail.end() - static_cast<int64_t>(single->outputs.size()));
  EXPECT_EQ(tail, Digests(*single));
}

TEST_F(QuantizeJobTest, EveryMethodWorksInEveryLayoutThatTakesIt) {
  const std::vector<Upload> uploads = WithHessian();
  int combinations = 0;
  for (const std::string& layout : ListLayouts()) {
    for (const std::string method : {"rtn", "gptq"}) {
      for (const Symmetry symmetry : {Symmetry::kAsymmetric, Symmetry::kSymmetricMinMax,
                                      Symmetry::kSymmetricAbsMax, Symmetry::kSymmetricFullRange}) {
        for (int bits = 2; bits <= 8; ++bits) {
          QuantizeJob job = RtnJob(uploads);
          job.layout = layout;
          job.spec = DefaultsOf(method);
          job.spec.levels = {.bits = bits, .symmetry = symmetry};
          job.spec.partition.group_size = 64;
          const auto result = Run(job, uploads);
          if (!result.ok()) {  // a layout may decline, with a reason
            EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
            EXPECT_THAT(std::string(result.status().message()), HasSubstr("q.weight"));
            continue;
          }
          ++combinations;
          EXPECT_EQ(result->report.tensors[0].outcome, Outcome::kOk);
          const TensorReport& report = result->report.tensors[0];
          const ErrorMeasures& rtn = *report.rtn_baseline;
          const std::string what =
              absl::StrCat(layout, ", ", method, ", ", SymmetryName(symmetry), ", ", bits);
          // Each bit is worth about 6 dB; these weights have heavy tails.
          EXPECT_GT(rtn.sqnr_db, 6.0 * bits - 12) << what;
          if (method == "gptq") {
            EXPECT_LT(*report.error.output_relative_error, 0.8 * *rtn.output_relative_error)
                << what;
          }
          EXPECT_EQ(Dense(job, *result).size(), 1u);
        }
      }
    }
  }
  EXPECT_GE(combinations, 2 * 4 * 7 + 2 * 4 * 7);  // plain and compressed-tensors take all of them
}

TEST_F(QuantizeJobTest, DynamicGroupsWithActOrderNeedALayoutWithGroupIndices) {
  const std::vector<Upload> uploads = WithHessian();
  QuantizeJob job = GptqJob(uploads);
  job.spec.solve.timing = GroupTiming::kDynamic;
  job.spec.solve.factorization = Factorization::kCholesky;
  EXPECT_EQ(Run(job, uploads).status().code(), absl::StatusCode::kInvalidArgument);
  job.layout = "gptq-v2";
  const auto result = Run(job, uploads);
  ASSERT_TRUE(result.ok()) << result.status();
  const std::vector<float> dense = Dense(job, *result).at(0);
  double d2 = 0;
  for (int64_t i = 0; i < kM * kN; ++i) d2 += std::pow(static_cast<double>(w_[i]) - dense[i], 2);
  EXPECT_NEAR(result->report.tensors[0].error.weight_mse * kM * kN / d2, 1.0, 1e-6);
}

// An index that says nothing new is not stored, and what is unpacked must still equal what was
// chosen.
TEST_F(QuantizeJobTest, DynamicGroupsWhoseIndexComesOutNaturalWorkInEveryLayout) {
  std::vector<Upload> uploads = WithHessian();
  QuantizeJob job = GptqJob(uploads);
  job.spec.solve.timing = GroupTiming::kDynamic;
  job.spec.solve.factorization = Factorization::kCholesky;
  job.spec.partition.group_size = kN;  // one group
  for (const char* layout : {"compressed-tensors", "gptq", "gptq-v2", "plain"}) {
    job.layout = layout;
    const auto result = Run(job, uploads);
    ASSERT_TRUE(result.ok()) << layout << ": " << result.status();
    EXPECT_EQ(result->report.tensors[0].outcome, Outcome::kOk);
  }
  std::vector<float> flat(kN * kN);  // act-order of a constant diagonal is the natural order
  for (int64_t i = 0; i < kN; ++i) flat[i * (kN + 1)] = 2.0f;
  uploads[1] = F32("h", Role::kHessian, {kN, kN}, flat);
  job.spec.partition.group_size = 32;
  for (const char* layout : {"gptq", "gptq-v2", "plain"}) {
    job.layout = layout;
    const auto result = Run(job, uploads);
    ASSERT_TRUE(result.ok()) << layout << ": " << result.status();
  }
}

TEST_F(QuantizeJobTest, AHessianOfTinyNumbersIsAsGoodAsItsMultiple) {
  std::vector<float> tiny(kN * kN);
  for (int64_t i = 0; i < kN * kN; ++i) tiny[i] = static_cast<float>(h_[i] * 0x1p-120);
  const std::vector<Upload> usual = WithHessian();
  const std::vector<Upload> small = {usual[0], F32("h", Role::kHessian, {kN, kN}, tiny)};
  const auto a = Run(GptqJob(usual), usual), b = Run(GptqJob(small), small);
  ASSERT_TRUE(a.ok() && b.ok()) << b.status();
  EXPECT_EQ(b->report.tensors[0].outcome, Outcome::kOk) << b->report.tensors[0].reason;
  EXPECT_NEAR(*b->report.tensors[0].error.output_relative_error /
                  *a->report.tensors[0].error.output_relative_error,
              1.0, 0.02);
}

// The sweep's own loss stands in for the product with H; both must say the same, also for the
// inverse factor and far up the ladder.
TEST_F(QuantizeJobTest, TheReportedOutputErrorIsThatOfTheDecodedBytesForBothFactors) {
  const std::vector<Upload> uploads = WithHessian();
  std::vector<double> w(w_.begin(), w_.end());
  for (const Factorization f : {Factorization::kLdlq, Factorization::kCholesky}) {
    for (const double damping : {1e-4, 0.01, 1.0}) {
      QuantizeJob job = GptqJob(uploads);
      job.spec.solve.factorization = f;
      job.spec.solve.damping = {damping, 10, 1.0};
      const auto result = Run(job, uploads);
      ASSERT_TRUE(result.ok()) << result.status();
      const std::vector<float> dense = Dense(job, *result).at(0);
      std::vector<double> d(kM * kN);
      for (int64_t i = 0; i < kM * kN; ++i) d[i] = w[i] - dense[i];
      const double expected = reference::Energy(d, kM, kN, h_) / reference::Energy(w, kM, kN, h_);
      EXPECT_NEAR(*result->report.tensors[0].error.output_relative_error / expected, 1.0, 2e-3)
          << FactorizationName(f) << " at " << damping;
    }
  }
}

TEST_F(QuantizeJobTest, OneScalePerTensorIsFittedOverAllStripes) {
  const std::vector<Upload> uploads = {F32("q.weight", Role::kWeight, {kM, kN}, w_)};
  QuantizeJob job = RtnJob(uploads);
  job.layout = "plain";
  job.spec.partition.granularity = Granularity::kTensor;
  job.spec.levels = {.bits = 8, .symmetry = Symmetry::kSymmetricAbsMax};
  job.spec.storage.kind = StorageKind::kF32;
  const auto result = Run(job, uploads);
  ASSERT_TRUE(result.ok()) << result.status();
  float largest = 0;
  for (const float v : w_) largest = std::max(largest, std::abs(v));
  bool found = false;
  for (const Output& o : result->outputs) {
    if (o.decl.name != "q.scales") continue;
    found = true;
    ASSERT_EQ(o.bytes.size(), 4u);
    EXPECT_FLOAT_EQ(o.bytes.As<float>()[0], largest / 127);
  }
  EXPECT_TRUE(found);
}

TEST_F(QuantizeJobTest, SixteenBitInputsAreMeasuredAgainstTheirOwnValues) {
  const std::vector<Upload> uploads = {Bf16("q.weight", Role::kWeight, {kM, kN}, w_)};
  QuantizeJob job = RtnJob(uploads);
  job.spec.levels.bits = 8;
  const auto result = Run(job, uploads, 333);
  ASSERT_TRUE(result.ok()) << result.status();
  const std::vector<float> dense = Dense(job, *result).at(0);
  double d2 = 0;
  for (int64_t i = 0; i < kM * kN; ++i) {
    d2 += std::pow(static_cast<double>(FromBF16(ToBF16(w_[i]))) - dense[i], 2);
  }
  EXPECT_NEAR(result->report.tensors[0].error.weight_mse * kM * kN / d2, 1.0, 1e-6);
}

TEST_F(QuantizeJobTest, ANanWeightIsRejectedByNameAndTheOthersAreDelivered) {
  std::vector<Upload> uploads = WithHessian();
  std::vector<float> bad = w_;
  bad[70 * kN + 3] = std::numeric_limits<float>::quiet_NaN();
  uploads.push_back(F32("bad.weight", Role::kWeight, {kM, kN}, bad));
  const auto result = Run(GptqJob(uploads), uploads);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->report.tensors[0].outcome, Outcome::kOk);
  EXPECT_EQ(result->report.tensors[1].outcome, Outcome::kRejected);
  EXPECT_THAT(result->report.tensors[1].reason, HasSubstr("not finite at [70, 3]"));
  EXPECT_EQ(result->report.tensors[1].cause, OutcomeCause::kNotFinite);
  for (const Output& o : result->outputs) EXPECT_EQ(o.decl.weight, 0);
  EXPECT_EQ(result->report.outcome(), Outcome::kRejected);
}

TEST_F(QuantizeJobTest, AScaleBeyondItsStorageIsRejected) {
  std::vector<float> huge = w_;
  huge[5 * kN + 130] = 1e7f;
  const std::vector<Upload> uploads = {F32("q.weight", Role::kWeight, {kM, kN}, huge)};
  const auto result = Run(RtnJob(uploads), uploads);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->report.tensors[0].outcome, Outcome::kRejected);
  EXPECT_THAT(result->report.tensors[0].reason,
              HasSubstr("row 5, group 1 is beyond the largest f16"));
  EXPECT_EQ(result->report.tensors[0].cause, OutcomeCause::kScaleRange);
}

// Indefinite: damping must rise, which is told and, if the policy says so, refused.
TEST_F(QuantizeJobTest, RaisedDampingIsDegradedOrRejectedAsThePolicySays) {
  std::vector<double> h = h_;
  double mean = 0;
  for (int64_t i = 0; i < kN; ++i) mean += h[i * (kN + 1)] / kN;
  const double off = std::sqrt(h[0] * h[kN + 1]) + 0.05 * mean;
  h[1] = h[kN] = off;
  const std::vector<Upload> uploads = {F32("q.weight", Role::kWeight, {kM, kN}, w_),
                                       F32("h", Role::kHessian, {kN, kN}, reference::ToFloat(h))};
  QuantizeJob job = GptqJob(uploads);
  const auto accepted = Run(job, uploads);
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  const TensorReport& report = accepted->report.tensors[0];
  EXPECT_EQ(report.outcome, Outcome::kDegraded);
  EXPECT_THAT(report.reason, HasSubstr("not positive definite at damping 0.01"));
  EXPECT_EQ(report.cause, OutcomeCause::kDamping);
  EXPECT_GE(report.solver->damping_retries, 1);
  EXPECT_FALSE(accepted->outputs.empty());

  job.policy.on_degraded = OnDegraded::kReject;
  const auto rejected = Run(job, uploads);
  ASSERT_TRUE(rejected.ok());
  EXPECT_EQ(rejected->report.tensors[0].outcome, Outcome::kRejected);
  EXPECT_THAT(rejected->report.tensors[0].reason, HasSubstr("policy rejects"));
  EXPECT_EQ(rejected->report.tensors[0].cause, OutcomeCause::kPolicy);
  EXPECT_TRUE(rejected->outputs.empty());
}

TEST_F(QuantizeJobTest, AHopelessHessianFallsBackToDescentAndSaysSo) {
  std::vector<double> h = h_;
  h[1] = h[kN] = 1e4;
  const std::vector<Upload> uploads = {F32("q.weight", Role::kWeight, {kM, kN}, w_),
                                       F32("h", Role::kHessian, {kN, kN}, reference::ToFloat(h))};
  QuantizeJob job = GptqJob(uploads);
  const auto result = Run(job, uploads);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->report.tensors[0].outcome, Outcome::kDegraded);
  EXPECT_TRUE(result->report.tensors[0].solver->used_descent);
  EXPECT_THAT(result->report.tensors[0].reason, HasSubstr("coordinate descent"));
  EXPECT_EQ(result->report.tensors[0].cause, OutcomeCause::kNoFactor);

  job.spec.solve.fallback_descent_passes = 0;
  const auto refused = Run(job, uploads);
  ASSERT_TRUE(refused.ok());
  EXPECT_EQ(refused->report.tensors[0].outcome, Outcome::kRejected);
}

TEST_F(QuantizeJobTest, AnAllZeroHessianIsDegradedToRoundToNearest) {
  const std::vector<Upload> zero = {
      F32("q.weight", Role::kWeight, {kM, kN}, w_),
      F32("h", Role::kHessian, {kN, kN}, std::vector<float>(kN * kN))};
  const std::vector<Upload> none = {zero[0]};
  const auto result = Run(GptqJob(zero), zero), rtn = Run(RtnJob(none), none);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->report.tensors[0].outcome, Outcome::kDegraded);
  EXPECT_THAT(result->report.tensors[0].reason, HasSubstr("no calibration signal"));
  EXPECT_EQ(result->report.tensors[0].cause, OutcomeCause::kNoSignal);
  EXPECT_EQ(result->report.tensors[0].solver->dead_columns, kN);
  EXPECT_EQ(Digests(*result), Digests(*rtn));
}

TEST_F(QuantizeJobTest, StatisticsThatCannotBeUsedAreAnError) {
  std::vector<Upload> uploads = WithHessian();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(uploads[1].bytes.data() + 40, &nan, 4);
  const absl::Status s = Run(GptqJob(uploads), uploads).status();
  EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(s.message()), HasSubstr("'h': entry [0, 10]"));
}

TEST_F(QuantizeJobTest, ACancelledJobReturnsItsReason) {
  const std::vector<Upload> uploads = WithHessian();
  cancel_.Cancel(absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Run(GptqJob(uploads), uploads).status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(QuantizeJobTest, ProgressEndsAtOne) {
  const std::vector<Upload> uploads = WithHessian();
  ASSERT_TRUE(Run(GptqJob(uploads), uploads).ok());
  EXPECT_DOUBLE_EQ(progress_.last, 1.0);
}

}  // namespace
}  // namespace quantd
