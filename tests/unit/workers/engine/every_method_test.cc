// What must hold for every method, whatever its axes.
#include <cmath>
#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/reference/shuffled_executor.h"
#include "tests/unit/workers/engine/job_fixture.h"
#include "workers/methods/check.h"
#include "workers/methods/resolve.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kRows = 256;
constexpr int64_t kColumns = 192;

// A method, and what is set on top of its preset.
struct Variant {
  std::string method;
  std::vector<std::pair<std::string, std::string>> settings;
};

std::string NameOf(const Variant& v) {
  std::string name = v.method;
  for (const auto& [key, value] : v.settings) name += "_" + key + "_" + value;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

// Two codebooks of 16 entries for four columns: 2 bits a weight, quickly found.
Variant Aqlm(const std::vector<std::pair<std::string, std::string>>& more) {
  Variant v = {"aqlm",
               {{"codebook-bits", "4"},
                {"in-group", "4"},
                {"fit-iterations", "10"},
                {"refine-rounds", "0"}}};
  v.settings.insert(v.settings.end(), more.begin(), more.end());
  return v;
}

std::vector<Variant> Variants() {
  std::vector<Variant> list;
  for (const MethodInfo& m : ListMethods()) {
    if (m.defaults.levels.additive()) continue;  // below: its defaults want larger weights
    list.push_back({m.name,
                    {{"group-size", m.defaults.partition.group_size > 64
                                        ? "64"
                                        : std::to_string(m.defaults.partition.group_size)}}});
  }
  const Variant more[] = {
      {"gptq", {{"group-axis", "in"}, {"group-size", "64"}}},
      {"gptq", {{"timing", "dynamic"}, {"group-size", "64"}}},
      {"gptq", {{"granularity", "tensor"}, {"fit", "shrink"}}},
      {"hqq", {{"group-axis", "in"}, {"strided", "true"}}},
      {"kmeans", {{"granularity", "tensor"}}},
      {"kmeans", {{"granularity", "column"}, {"importance", "diagonal"}}},
      {"kmeans", {{"granularity", "group"}, {"group-axis", "in"}, {"group-size", "64"}}},
      {"kmeans", {{"solver", "gptq"}, {"bits", "3"}}},
      {"claq", {{"bits", "3"}}},
      {"awq", {{"solver", "gptq"}, {"group-size", "32"}}},
      {"nf4", {{"storage", "nested"}}},
      {"nf4", {{"solver", "gptq"}}},
      {"mxfp4", {{"solver", "gptq"}, {"scale-rounding", "even"}}},
      {"nvfp4", {{"solver", "gptq"}}},
      {"fp8", {{"granularity", "tensor"}}},
      {"gwq", {{"solver", "gptq"}, {"group-size", "64"}}},
      {"rtn", {{"outliers", "range"}, {"outlier-share", "0.02"}, {"group-size", "64"}}},
      {"rtn", {{"mask-kept", "2"}, {"mask-of", "4"}, {"group-size", "64"}}},
      {"rtn", {{"rotation", "input"}, {"storage", "e8m0"}, {"group-size", "64"}}},
      {"wkv", {{"group-axis", "in"}, {"group-size", "32"}, {"recent-rows", "40"}}},
      {"mixquant", {{"levels", "learned-table"}, {"error-factor", "1e6"}}},
      Aqlm({}),
      Aqlm({{"codebooks", "1"}, {"codebook-bits", "8"}, {"points-per-center", "4"}}),
      Aqlm({{"granularity", "group"}, {"group-size", "4"}}),
      Aqlm({{"granularity", "group"}, {"group-size", "4"}, {"storage", "table"}}),
      Aqlm({{"out-group", "2"}, {"codebooks", "4"}}),
      Aqlm({{"update", "adam"}, {"adam", "code"}, {"update-steps", "10"}}),
      Aqlm({{"beam", "3"}, {"seeding", "farthest"}, {"refine-rounds", "1"}, {"rounds", "2"}}),
  };
  list.insert(list.end(), std::begin(more), std::end(more));
  return list;
}

class EveryMethodTest : public JobFixture, public ::testing::WithParamInterface<Variant> {
 protected:
  EveryMethodTest()
      : weight_(reference::HeavyTailedWeight(kRows, kColumns, 21)),
        x_(reference::CorrelatedActivations(512, kColumns, 22)) {
    const absl::StatusOr<Spec> spec = ResolveSpec(GetParam().method, GetParam().settings);
    EXPECT_TRUE(spec.ok()) << spec.status();
    if (spec.ok()) spec_ = *spec;
  }

  std::vector<Upload> Uploads() const {
    std::mt19937_64 generator(23);
    std::normal_distribution<float> normal;
    std::vector<float> importance(kRows * kColumns);
    for (float& v : importance) v = normal(generator) * normal(generator);
    std::vector<float> squares = importance;
    for (float& v : squares) v *= v;
    const std::vector<double> h = reference::SecondMoment(x_, 512, kColumns);
    std::vector<float> cross(h.begin(), h.end());
    for (int64_t i = 0; i < kColumns; ++i) cross[i * kColumns + (i + 1) % kColumns] += 0.01f;
    std::vector<Upload> uploads = {F32("w.weight", Role::kWeight, {kRows, kColumns}, weight_),
                                   F32("x", Role::kActivations, {512, kColumns}, x_)};
    for (const Role role : RequiredRoles(spec_)) {
      if (role == Role::kFisher) uploads.push_back(F32("f", role, {kRows, kColumns}, squares));
      if (role == Role::kGradient) uploads.push_back(F32("g", role, {kRows, kColumns}, importance));
      if (role == Role::kCrossMoment)
        uploads.push_back(F32("c", role, {kColumns, kColumns}, cross));
    }
    return uploads;
  }

  QuantizeJob JobOf(const std::vector<Upload>& uploads) const {
    QuantizeJob job = RtnJob(uploads);
    job.spec = spec_;
    job.layout = "plain";
    return job;
  }

  std::vector<float> weight_, x_;
  Spec spec_;
};

TEST_P(EveryMethodTest, ReportsTheErrorOfWhatItsBytesDecodeTo) {
  const std::vector<Upload> uploads = Uploads();
  const QuantizeJob job = JobOf(uploads);
  const absl::StatusOr<JobResult> result = Run(job, uploads);
  ASSERT_TRUE(result.ok()) << result.status();
  const TensorReport& report = result->report.tensors.at(0);
  ASSERT_EQ(report.outcome, Outcome::kOk) << report.reason;
  const std::vector<float> dense = Dense(job, *result).at(0);
  double error = 0, energy = 0;
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    const double d = static_cast<double>(weight_[i]) - dense[i];
    error += d * d;
    energy += static_cast<double>(weight_[i]) * weight_[i];
  }
  EXPECT_NEAR(report.error.weight_relative_error, error / energy, 1e-6 * error / energy);
  EXPECT_LT(report.error.weight_relative_error, 0.6);

  // |(W - W') X|^2 / |W X|^2, token by token.
  double output = 0, source = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t t = 0; t < 512; ++t) {
      double d = 0, s = 0;
      for (int64_t j = 0; j < kColumns; ++j) {
        const double w = weight_[r * kColumns + j];
        d += (w - dense[r * kColumns + j]) * x_[t * kColumns + j];
        s += w * x_[t * kColumns + j];
      }
      output += d * d;
      source += s * s;
    }
  }
  ASSERT_TRUE(report.error.output_relative_error.has_value());
  EXPECT_NEAR(*report.error.output_relative_error / (output / source), 1.0, 2e-3);

  uint64_t bytes = 0;
  for (const Output& o : result->outputs) bytes += o.bytes.size();
  EXPECT_DOUBLE_EQ(report.all_in_bits_per_weight, 8.0 * bytes / (kRows * kColumns));
  ASSERT_TRUE(report.rtn_baseline.has_value());
}

TEST_P(EveryMethodTest, GivesTheSameBytesForAnyThreadsAndAnyCutOfTheUpload) {
  const std::vector<Upload> uploads = Uploads();
  const QuantizeJob job = JobOf(uploads);
  const absl::StatusOr<JobResult> one = Run(job, uploads);
  reference::ShuffledExecutor shuffled(3);
  const absl::StatusOr<JobResult> many = Run(job, uploads, 50021, &shuffled);
  ASSERT_TRUE(one.ok() && many.ok()) << one.status() << many.status();
  EXPECT_EQ(Digests(*one), Digests(*many));
  EXPECT_EQ(one->report.tensors[0].error.output_relative_error,
            many->report.tensors[0].error.output_relative_error);
}

TEST_P(EveryMethodTest, RejectsAWeightThatIsNotFinite) {
  std::vector<Upload> uploads = Uploads();
  const float bad = std::nanf("");
  std::memcpy(uploads[0].bytes.data() + 4 * (5 * kColumns + 17), &bad, 4);
  const absl::StatusOr<JobResult> result = Run(JobOf(uploads), uploads);
  if (!result.ok()) {  // a search over the whole group meets it first
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << result.status();
    return;
  }
  EXPECT_EQ(result->report.tensors[0].outcome, Outcome::kRejected);
  EXPECT_THAT(result->report.tensors[0].reason, HasSubstr("not finite at [5, 17]"));
  EXPECT_TRUE(result->outputs.empty());
}

TEST_P(EveryMethodTest, AnAllZeroWeightStaysZero) {
  if (spec_.transform.scaling == ScalingKind::kSmooth) return;  // its floor makes scales, not zeros
  weight_.assign(weight_.size(), 0.0f);
  const std::vector<Upload> uploads = Uploads();
  const QuantizeJob job = JobOf(uploads);
  const absl::StatusOr<JobResult> result = Run(job, uploads);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->report.tensors[0].outcome, Outcome::kOk);
  const std::vector<float> dense = Dense(job, *result).at(0);
  for (const float v : dense) ASSERT_EQ(v, 0.0f);
}

class SharedScalesTest : public JobFixture {};

TEST_F(SharedScalesTest, AWeightThatIsNotFiniteDoesNotSpoilItsNeighbours) {
  const std::vector<float> x = reference::CorrelatedActivations(256, 64, 3);
  std::vector<float> bad = reference::HeavyTailedWeight(32, 64, 4);
  bad[5 * 64 + 9] = std::numeric_limits<float>::infinity();
  const std::vector<float> good = reference::HeavyTailedWeight(32, 64, 5);
  for (const char* method : {"nvfp4", "awq", "smoothquant", "owq"}) {
    const std::vector<Upload> both = {F32("a.weight", Role::kWeight, {32, 64}, bad),
                                      F32("b.weight", Role::kWeight, {32, 64}, good),
                                      F32("x", Role::kActivations, {256, 64}, x)};
    const std::vector<Upload> alone = {both[1], both[2]};
    const auto run = [&](const std::vector<Upload>& uploads) {
      QuantizeJob job = RtnJob(uploads);
      job.spec = DefaultsOf(method);
      if (job.spec.partition.group_size > 32) job.spec.partition.group_size = 32;
      job.layout = "plain";
      return Run(job, uploads);
    };
    const auto with = run(both), without = run(alone);
    ASSERT_TRUE(with.ok() && without.ok()) << method << with.status() << without.status();
    EXPECT_EQ(with->report.tensors[0].outcome, Outcome::kRejected) << method;
    EXPECT_THAT(with->report.tensors[0].reason, HasSubstr("not finite at [5, 9]")) << method;
    EXPECT_EQ(Digests(*with), Digests(*without)) << method;
  }
}

TEST_F(SharedScalesTest, WhatWouldBeStoredBeyondF16IsRejected) {
  std::vector<float> w = reference::HeavyTailedWeight(64, 64, 6);
  w[7] = 1e6f;
  const std::vector<Upload> uploads = {F32("w.weight", Role::kWeight, {64, 64}, w)};
  for (const char* method : {"kmeans", "wkv"}) {
    QuantizeJob job = RtnJob(uploads);
    job.spec = DefaultsOf(method);
    job.spec.partition.group_size = 32;
    job.layout = "plain";
    const auto result = Run(job, uploads);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->report.tensors[0].outcome, Outcome::kRejected) << method;
    EXPECT_THAT(result->report.tensors[0].reason, HasSubstr("f16")) << method;
  }
}

TEST_F(SharedScalesTest, AWholeColumnSaysWhereItIsNotFinite) {
  std::vector<float> w = reference::HeavyTailedWeight(640, 32, 7);
  w[600 * 32 + 3] = std::numeric_limits<float>::infinity();
  const std::vector<Upload> uploads = {F32("w.weight", Role::kWeight, {640, 32}, w)};
  QuantizeJob job = RtnJob(uploads);
  job.spec.partition.granularity = Granularity::kColumn;
  job.layout = "plain";
  const auto result = Run(job, uploads);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->report.tensors[0].reason, HasSubstr("not finite at [600, 3]"));
}

TEST_F(SharedScalesTest, DequantizeRefusesRowsThatStridedGroupsWouldMiss) {
  DequantizeJob job;
  job.id = "d";
  job.layout = "plain";
  Spec spec = DefaultsOf("hqq");
  spec.partition.axis = GroupAxis::kIn;
  spec.partition.strided = true;
  spec.partition.group_size = 4;
  job.weights = {{"w.weight", 10, 32, spec}};
  TensorDecl decl;
  decl.name = "w.codes";
  decl.role = Role::kPacked;
  decl.dtype = DType::kU8;
  decl.shape = {10, 16};
  job.tensors = {decl};
  EXPECT_THAT(std::string(Job::Create(job, JobLimits(), 1).status().message()),
              HasSubstr("group_size 4 does not divide its 10 rows"));
}

INSTANTIATE_TEST_SUITE_P(Methods, EveryMethodTest, ::testing::ValuesIn(Variants()),
                         [](const auto& info) { return NameOf(info.param); });

}  // namespace
}  // namespace quantd
