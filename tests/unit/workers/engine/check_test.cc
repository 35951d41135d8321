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
    job.tensors = {{"a.weight", Role::kWeight, DType::kF32, {64, 256}, std::nullopt},
                   {"h", Role::kHessian, DType::kF32, {256, 256}, std::nullopt}};
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
  job.tensors.push_back({"a", Role::kWeight, DType::kF32, {64, 256}, std::nullopt});
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
  job.tensors.push_back({"x", Role::kActivations, DType::kF32, {10, 256}, std::nullopt});
  ExpectRefused(job, kInvalid, "'x': one HESSIAN or ACTIVATIONS");
  job = Valid();
  job.tensors[1].role = Role::kFisher;
  ExpectRefused(job, kInvalid, "role FISHER is of no use to method gptq");
  job = Valid();
  job.tensors.pop_back();
  ExpectRefused(job, absl::StatusCode::kFailedPrecondition, "gptq needs a HESSIAN or ACTIVATIONS");
  job = Valid();
  job.tensors.push_back({"b.weight", Role::kWeight, DType::kF32, {64, 128}, std::nullopt});
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
  ExpectRefused(job, kInvalid, "'magic' is not one of rtn, gptq");
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
  job = Valid();
  job.spec.levels.bits = 9;
  ExpectRefused(job, kInvalid, "bits: 9");
  job = Valid();
  job.spec.fit.kind = FitKind::kShrinkSearch;
  job.spec.fit.shrink_to = 0;
  ExpectRefused(job, kInvalid, "shrink_to: 0");
  job = Valid();
  job.spec.scale_dtype = DType::kI8;
  ExpectRefused(job, kInvalid, "scale_storage: I8");
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
