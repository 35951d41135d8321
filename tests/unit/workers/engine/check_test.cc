#include "workers/engine/check.h"

#include "gmock/gmock.h"
#include "tests/unit/workers/engine/job_fixture.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

class CheckTest : public JobFixture {
 protected:
  static QuantizeJob Valid() {
    QuantizeJob job;
    job.id = "job-1";
    job.spec = DefaultsOf("gptq");
    job.layout = "compressed-tensors";
    job.tensors = {{"a.weight", Role::kWeight, DType::kF32, {64, 256}, std::nullopt, ""},
                   {"h", Role::kHessian, DType::kF32, {256, 256}, std::nullopt, ""}};
    return job;
  }

  static absl::Status Check(const QuantizeJob& job) {
    return Job::Create(job, JobLimits(), 1).status();
  }

  static void ExpectRefused(const QuantizeJob& job, absl::StatusCode code, const char* text) {
    const absl::Status s = Check(job);
    EXPECT_EQ(s.code(), code) << s;
    EXPECT_THAT(std::string(s.message()), HasSubstr(text));
  }
};

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST_F(CheckTest, AcceptsAValidJob) { EXPECT_TRUE(Check(Valid()).ok()) << Check(Valid()); }

TEST_F(CheckTest, RefusesBadDeclarationsNamingTensorAndValue) {
  QuantizeJob job = Valid();
  job.id = "";
  ExpectRefused(job, kInvalid, "job_id");
  job = Valid();
  job.tensors[1].name = "a.weight";
  ExpectRefused(job, kInvalid, "'a.weight': declared twice");
  job = Valid();
  job.tensors.push_back({"a", Role::kWeight, DType::kF32, {64, 256}, std::nullopt, ""});
  ExpectRefused(job, kInvalid, "'a': another weight is of module 'a'");
  job = Valid();
  job.tensors[0].shape = {64, -256};
  ExpectRefused(job, kInvalid, "'a.weight': shape [64, -256] has a negative");
  job = Valid();
  job.tensors[0].shape = {int64_t{1} << 40, 256};
  ExpectRefused(job, absl::StatusCode::kOutOfRange, "'a.weight': shape [1099511627776, 256]");
  job = Valid();
  job.tensors[0].shape = {256};
  ExpectRefused(job, kInvalid, "'a.weight': a weight has shape [m, n]");
  job = Valid();
  job.tensors[0].dtype = DType::kI32;
  ExpectRefused(job, kInvalid, "'a.weight': dtype I32");
  job = Valid();
  job.tensors.clear();
  ExpectRefused(job, kInvalid, "none declared");
  job = Valid();
  job.tensors.erase(job.tensors.begin());
  ExpectRefused(job, kInvalid, "no WEIGHT");
}

TEST_F(CheckTest, RefusesStatisticsThatDoNotFit) {
  QuantizeJob job = Valid();
  job.tensors[1].shape = {255, 256};
  ExpectRefused(job, kInvalid, "'h': shape [255, 256] is not [256, 256] nor the triangle [32896]");
  job = Valid();
  job.tensors.push_back({"x", Role::kActivations, DType::kF32, {10, 256}, std::nullopt, ""});
  ExpectRefused(job, kInvalid, "'x': one HESSIAN or ACTIVATIONS");
  job = Valid();
  job.tensors[1].role = Role::kFisher;
  ExpectRefused(job, kInvalid, "role FISHER is of no use to method gptq");
  job = Valid();
  job.tensors.pop_back();
  ExpectRefused(job, absl::StatusCode::kFailedPrecondition, "gptq needs a HESSIAN or ACTIVATIONS");
  job = Valid();
  job.tensors.push_back({"b.weight", Role::kWeight, DType::kF32, {64, 128}, std::nullopt, ""});
  ExpectRefused(job, kInvalid,
                "'b.weight': has 128 columns, the first weight of the request has 256");
}

TEST_F(CheckTest, RefusesGroupsThatDoNotDivide) {
  QuantizeJob job = Valid();
  job.spec.partition.group_size = 96;
  ExpectRefused(job, kInvalid, "group_size 96 does not divide its 256 columns");
  job.spec.partition.group_size = 512;
  ExpectRefused(job, kInvalid, "group_size 512 is above its 256 columns");
  job.spec.partition.group_size = 96;
  job.spec.partition.tail = TailPolicy::kShortLastGroup;
  job.layout = "plain";
  EXPECT_TRUE(Check(job).ok()) << Check(job);
}

TEST_F(CheckTest, RefusesUnknownNames) {
  QuantizeJob job = Valid();
  job.spec.method = "magic";
  ExpectRefused(job, kInvalid, "'magic' is not one of rtn, gptq, adadim-rtn");
  job = Valid();
  job.layout = "gguf";
  EXPECT_FALSE(Check(job).ok());
}

TEST_F(CheckTest, RefusesAxesThatMakeNoSenseTogether) {
  QuantizeJob job = Valid();
  job.spec.solve.timing = GroupTiming::kDynamic;
  ExpectRefused(job, kInvalid, "ldlq");
  job.spec.solve.factorization = Factorization::kCholesky;
  job.spec.partition.granularity = Granularity::kRow;
  ExpectRefused(job, kInvalid, "dynamic groups need");
  job = Valid();
  job.spec.solve.block_columns = 0;
  ExpectRefused(job, kInvalid, "block_columns: 0");
  job = Valid();
  job.spec.solve.damping.limit = 0.001;
  ExpectRefused(job, kInvalid, "damping");
  job = Valid();
  job.spec.solve.damping.step = 1.0 + 1e-15;  // a ladder that would never end
  ExpectRefused(job, kInvalid, "32 rungs");
  job.spec.solve.damping = {5e-324, 1.4, 1.0};
  ExpectRefused(job, kInvalid, "32 rungs");
  job.spec.solve.damping = {1e-300, 10.0, 1.0};  // 300 rungs, of which none below the last helps
  ExpectRefused(job, kInvalid, "32 rungs");
  job = Valid();
  job.spec.levels.bits = 9;
  ExpectRefused(job, kInvalid, "bits: 9");
  job = Valid();
  job.spec.fit.kind = FitKind::kShrinkSearch;
  job.spec.fit.shrink_to = 0;
  ExpectRefused(job, kInvalid, "shrink_to: 0");
  job = Valid();
  job.spec.storage.kind = StorageKind::kUnspecified;
  ExpectRefused(job, kInvalid, "storage.kind: unspecified");
}

TEST_F(CheckTest, RefusesImportanceThatBelongsNowhere) {
  QuantizeJob job = Valid();
  job.layout = "plain";
  job.spec = DefaultsOf("squeezellm");
  ExpectRefused(job, absl::StatusCode::kFailedPrecondition,
                "squeezellm needs a FISHER tensor for 'a.weight'");
  job.tensors.push_back({"f", Role::kFisher, DType::kF32, {64, 256}, std::nullopt, ""});
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  job.tensors.back().of = "b.weight";
  ExpectRefused(job, kInvalid, "'f': of 'b.weight', which is no WEIGHT");
  job.tensors.push_back({"b.weight", Role::kWeight, DType::kF32, {32, 256}, std::nullopt, ""});
  ExpectRefused(job, kInvalid, "'f': shape [64, 256] is not [32, 256] of 'b.weight'");
  job.tensors[2].of = "";
  ExpectRefused(job, kInvalid, "'f': says not of which of 2 weights it is");
  job.tensors[2].of = "a.weight";
  ExpectRefused(job, absl::StatusCode::kFailedPrecondition, "FISHER tensor for 'b.weight'");
  job.tensors.back() = {"f2", Role::kFisher, DType::kF32, {64, 256}, std::nullopt, "a.weight"};
  ExpectRefused(job, kInvalid, "'f2': 'a.weight' has a FISHER already");
}

TEST_F(CheckTest, RefusesStatisticsThatASpecCannotDoWithout) {
  const auto missing = [](const char* method, const char* role, bool with_hessian) {
    QuantizeJob job = Valid();
    job.layout = "plain";
    job.spec = DefaultsOf(method);
    if (!with_hessian) job.tensors.pop_back();
    ExpectRefused(job, absl::StatusCode::kFailedPrecondition, role);
  };
  missing("awq", "HESSIAN or ACTIVATIONS", false);
  missing("adadim-rtn", "HESSIAN or ACTIVATIONS", false);
  missing("owq", "HESSIAN or ACTIVATIONS", false);
  missing("smoothquant", "CHANNEL_ABS_MAX", true);
  missing("qep", "CROSS_MOMENT", true);
  missing("gptaq", "CROSS_MOMENT", true);
  missing("gwq", "GRADIENT", true);
}

TEST_F(CheckTest, RefusesTokenWeightsWithoutTheirTokens) {
  QuantizeJob job = Valid();
  job.tensors.push_back({"r", Role::kTokenWeight, DType::kF32, {10}, std::nullopt, ""});
  ExpectRefused(job, kInvalid, "'r': TOKEN_WEIGHT weighs ACTIVATIONS, and there are none");
  job.tensors[1] = {"x", Role::kActivations, DType::kF32, {11, 256}, std::nullopt, ""};
  ExpectRefused(job, kInvalid, "'r': shape [10] is not [11], one for each row of 'x'");
  job.tensors[1].shape = {10, 256};
  EXPECT_TRUE(Check(job).ok()) << Check(job);
}

TEST_F(CheckTest, RefusesGroupsDownColumnsThatDoNotDivideRows) {
  QuantizeJob job = Valid();
  job.layout = "plain";
  job.spec.partition.axis = GroupAxis::kIn;
  job.spec.partition.group_size = 128;
  ExpectRefused(job, kInvalid, "group_size 128 is above its 64 rows; use granularity column");
  job.spec.partition.group_size = 48;
  ExpectRefused(job, kInvalid, "group_size 48 does not divide its 64 rows");
  job.spec = DefaultsOf("adadim-gptq");
  job.spec.partition.group_size = 96;
  ExpectRefused(job, kInvalid, "group_size 96 divides neither its 64 rows nor its 256 columns");
  job.spec.partition.group_size = 128;  // columns only: the other axis drops out
  EXPECT_TRUE(Check(job).ok()) << Check(job);
}

TEST_F(CheckTest, RefusesRotationsThatNoBlockFits) {
  QuantizeJob job = Valid();
  job.layout = "plain";
  job.spec = DefaultsOf("quarot");
  job.spec.partition.granularity = Granularity::kRow;
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  job.tensors[0].shape = {63, 256};
  ExpectRefused(job, kInvalid, "'a.weight'");
  job.tensors[0].shape = {64, 256};
  job.spec.transform.rotation_block = 512;
  ExpectRefused(job, kInvalid, "'a.weight'");
}

TEST_F(CheckTest, CostGrowsWithWhatIsDeclared) {
  QuantizeJob small = Valid(), large = Valid();
  large.tensors[0].shape = {4096, 4096};
  large.tensors[1].shape = {4096, 4096};
  const auto a = Job::Create(small, JobLimits(), 2), b = Job::Create(large, JobLimits(), 2);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_GT((*b)->cost().seconds, (*a)->cost().seconds);
  // W and H, the packed result, and not twice as much again
  const uint64_t needed = 2 * (uint64_t{4096} * 4096 * 4) + uint64_t{4096} * 4096 / 2;
  EXPECT_GT((*b)->cost().peak_bytes, needed);
  EXPECT_LT((*b)->cost().peak_bytes, 2 * needed);
}

}  // namespace
}  // namespace quantd
