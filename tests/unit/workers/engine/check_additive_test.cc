// Declarations of jobs with additive levels.
#include "gmock/gmock.h"
#include "tests/unit/workers/engine/job_fixture.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kMissing = absl::StatusCode::kFailedPrecondition;

class CheckAdditiveTest : public JobFixture {
 protected:
  // 64 x 256, 2x4 over patches of 1 x 8.
  static QuantizeJob Valid() {
    QuantizeJob job;
    job.id = "job-1";
    job.spec = DefaultsOf("aqlm");
    job.spec.levels.codebook_bits = 4;
    job.spec.fit.refine_rounds = 0;
    job.layout = "plain";
    job.tensors = {{"a.weight", Role::kWeight, DType::kF32, {64, 256}, std::nullopt, ""},
                   {"h", Role::kHessian, DType::kF32, {256, 256}, std::nullopt, ""}};
    return job;
  }

  static QuantizeJob Given() {
    QuantizeJob job = Valid();
    job.spec.fit.kind = FitKind::kGiven;
    job.tensors.push_back({"b", Role::kCodebooks, DType::kF16, {2, 16, 1, 8}, std::nullopt, ""});
    job.tensors.push_back({"s", Role::kScales, DType::kBF16, {64}, std::nullopt, ""});
    job.tensors.push_back({"c", Role::kCodes, DType::kI8, {64, 32, 2}, std::nullopt, ""});
    return job;
  }

  static absl::Status Check(const QuantizeJob& job, const JobLimits& limits = JobLimits()) {
    return Job::Create(job, limits, 1).status();
  }

  static void ExpectRefused(const QuantizeJob& job, absl::StatusCode code, const char* text) {
    const absl::Status s = Check(job);
    EXPECT_EQ(s.code(), code) << s;
    EXPECT_THAT(std::string(s.message()), HasSubstr(text));
  }
};

TEST_F(CheckAdditiveTest, AcceptsValidJobsWithAndWithoutH) {
  QuantizeJob job = Valid();
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  job.tensors.pop_back();
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  EXPECT_TRUE(Check(Given()).ok()) << Check(Given());
}

TEST_F(CheckAdditiveTest, PatchesMustTileTheWeight) {
  QuantizeJob job = Valid();
  job.spec.levels.out_group = 3;
  ExpectRefused(job, kInvalid, "'a.weight': out_group 3 does not divide its 64 rows");
  job = Valid();
  job.spec.levels.in_group = 12;
  ExpectRefused(job, kInvalid, "'a.weight': in_group 12 does not divide its 256 columns");
}

TEST_F(CheckAdditiveTest, AKMeansNeedsAsManyPatchesAsCenters) {
  QuantizeJob job = Valid();
  job.spec.levels.codebook_bits = 11;  // 64 * 32 patches
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  job.spec.levels.codebook_bits = 12;
  ExpectRefused(job, kInvalid,
                "'a.weight': its 2048 patches of 1 x 8 are fewer than the 4096 entries");
  job.spec.fit.kind = FitKind::kGiven;
  job.tensors.push_back({"b", Role::kCodebooks, DType::kF32, {2, 4096, 1, 8}, std::nullopt, ""});
  job.tensors.push_back({"s", Role::kScales, DType::kF32, {64}, std::nullopt, ""});
  EXPECT_TRUE(Check(job).ok()) << Check(job);
}

TEST_F(CheckAdditiveTest, GivenCodesHaveTheShapesOfTheirWeight) {
  QuantizeJob job = Given();
  job.tensors[2].shape = {2, 16, 8};
  ExpectRefused(job, kInvalid, "'b': shape [2, 16, 8] is not [2, 16, 1, 8] for 'a.weight'");
  job = Given();
  job.tensors[3].shape = {64, 32};
  ExpectRefused(job, kInvalid, "'s': shape [64, 32] is not [64] for 'a.weight'");
  job.spec.partition.granularity = Granularity::kGroup;
  job.spec.partition.group_size = 8;
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  job.tensors[3].shape = {64};
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  job.tensors[3].shape = {32};
  ExpectRefused(job, kInvalid, "'s': shape [32] is not [64] nor [64, 32] for 'a.weight'");
  job = Given();
  job.tensors[4].shape = {64, 2, 32};
  ExpectRefused(job, kInvalid, "'c': shape [64, 2, 32] is not [64, 32, 2] for 'a.weight'");
}

TEST_F(CheckAdditiveTest, GivenCodesHaveTheirDTypes) {
  QuantizeJob job = Given();
  for (const DType dtype : {DType::kI8, DType::kU8, DType::kI16, DType::kU16, DType::kI32}) {
    job.tensors[4].dtype = dtype;
    EXPECT_TRUE(Check(job).ok()) << Check(job);
  }
  for (const DType dtype : {DType::kI64, DType::kF32, DType::kBool, DType::kU32}) {
    job.tensors[4].dtype = dtype;
    ExpectRefused(job, kInvalid, "is not I8, U8, I16, U16 or I32");
  }
  job = Given();
  job.tensors[2].dtype = DType::kI8;
  ExpectRefused(job, kInvalid, "'b': dtype I8 is not F32, F16 or BF16");
}

TEST_F(CheckAdditiveTest, GivenNeedsCodebooksAndScalesOfEveryWeight) {
  QuantizeJob job = Given();
  job.tensors.erase(job.tensors.begin() + 2);
  ExpectRefused(job, kMissing, "aqlm needs a CODEBOOKS tensor for 'a.weight'");
  job = Given();
  job.tensors.erase(job.tensors.begin() + 3);
  ExpectRefused(job, kMissing, "aqlm needs a SCALES tensor for 'a.weight'");
  job = Given();
  job.tensors.pop_back();  // a search can start without codes
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  job.tensors.push_back({"z.weight", Role::kWeight, DType::kF32, {32, 256}, std::nullopt, ""});
  ExpectRefused(job, kInvalid, "'b': says not of which of 2 weights it is");
  job.tensors[2].of = job.tensors[3].of = "a.weight";
  ExpectRefused(job, kMissing, "CODEBOOKS tensor for 'z.weight'");
  job.tensors.push_back(
      {"b2", Role::kCodebooks, DType::kF32, {2, 16, 1, 8}, std::nullopt, "a.weight"});
  ExpectRefused(job, kInvalid, "'b2': 'a.weight' has a CODEBOOKS already");
  job.tensors.back().of = "z.weight";
  job.tensors.push_back({"s2", Role::kScales, DType::kF32, {32}, std::nullopt, "z.weight"});
  EXPECT_TRUE(Check(job).ok()) << Check(job);
}

TEST_F(CheckAdditiveTest, GivenCodesAreOfNoUseToOtherFits) {
  QuantizeJob job = Given();
  job.spec.fit.kind = FitKind::kResidualKMeans;
  ExpectRefused(job, kInvalid, "role CODEBOOKS is of no use to method aqlm");
}

TEST_F(CheckAdditiveTest, GivenScalesAreStoredAsTheyAre) {
  QuantizeJob job = Given();
  job.spec.partition.granularity = Granularity::kGroup;
  job.spec.partition.group_size = 8;
  job.spec.storage.kind = StorageKind::kTable;
  ExpectRefused(job, kInvalid, "storage table does not go with fit given");
}

TEST_F(CheckAdditiveTest, ACheckpointIsOneRunOfBytesForASolveInRounds) {
  QuantizeJob job = Valid();
  job.tensors.push_back({"state", Role::kCheckpoint, DType::kU8, {1000}, std::nullopt, ""});
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  QuantizeJob two = job;
  two.tensors.push_back({"more", Role::kCheckpoint, DType::kU8, {1000}, std::nullopt, ""});
  ExpectRefused(two, kInvalid, "'more': one CHECKPOINT a request, 'state' came first");
  QuantizeJob bad = job;
  bad.tensors[2].dtype = DType::kI8;
  ExpectRefused(bad, kInvalid, "'state': a CHECKPOINT is U8 [bytes], got I8 [1000]");
  bad.tensors[2].dtype = DType::kU8;
  bad.tensors[2].shape = {10, 100};
  ExpectRefused(bad, kInvalid, "'state': a CHECKPOINT is U8 [bytes], got U8 [10, 100]");
  bad.tensors[2].shape = {0};
  ExpectRefused(bad, kInvalid, "'state': a CHECKPOINT is U8 [bytes]");
  QuantizeJob other = job;
  other.spec = DefaultsOf("gptq");
  ExpectRefused(other, kInvalid, "role CHECKPOINT is of no use to method gptq");
}

TEST_F(CheckAdditiveTest, ACheckpointIsBoundedByTheUploadAlone) {
  QuantizeJob job = Valid();
  JobLimits limits;
  limits.max_dimension = 1 << 10;
  limits.max_upload_bytes = 1 << 20;
  job.tensors.push_back({"state", Role::kCheckpoint, DType::kU8, {1 << 16}, std::nullopt, ""});
  EXPECT_TRUE(Check(job, limits).ok()) << Check(job, limits);
  job.tensors.back().shape = {1 << 20};
  EXPECT_EQ(Check(job, limits).code(), absl::StatusCode::kOutOfRange);
}

TEST_F(CheckAdditiveTest, StatesAreNotMadeInThePast) {
  QuantizeJob job = Valid();
  job.checkpoint_seconds = -1;
  ExpectRefused(job, kInvalid, "checkpoint_seconds: -1 is below 0");
  job.checkpoint_seconds = 60;
  EXPECT_TRUE(Check(job).ok()) << Check(job);
}

TEST_F(CheckAdditiveTest, MemoryCountsStatesAndWhatIsGiven) {
  QuantizeJob job = Valid();
  job.tensors[0].shape = {4096, 4096};
  job.tensors[1].shape = {4096, 4096};
  const auto peak = [](const QuantizeJob& j) {
    const auto created = Job::Create(j, JobLimits(), 2);
    EXPECT_TRUE(created.ok()) << created.status();
    return created.ok() ? (*created)->cost().peak_bytes : 0;
  };
  const uint64_t plain = peak(job), codes = uint64_t{4096} * 512 * 2 * 2;
  job.checkpoint_seconds = 60;
  EXPECT_GE(peak(job), plain + 2 * codes);
  EXPECT_LE(peak(job), plain + 4 * codes);
  job.checkpoint_seconds = 0;
  const uint64_t state = uint64_t{1} << 30;
  job.tensors.push_back(
      {"state", Role::kCheckpoint, DType::kU8, {static_cast<int64_t>(state)}, std::nullopt, ""});
  EXPECT_EQ(peak(job), plain + state);
}

TEST_F(CheckAdditiveTest, OnePatchARowNeedsNoTableOfScales) {
  QuantizeJob job = Valid();
  job.spec.partition.granularity = Granularity::kGroup;
  job.spec.partition.group_size = 8;
  job.spec.storage.kind = StorageKind::kTable;
  EXPECT_TRUE(Check(job).ok()) << Check(job);
  job.tensors = {{"a.weight", Role::kWeight, DType::kF32, {64, 8}, std::nullopt, ""}};
  ExpectRefused(job, kInvalid, "'a.weight': its rows have one patch each");
}

TEST_F(CheckAdditiveTest, WiderBeamsAndMoreCodebooksCostMore) {
  const auto cost = [](int codebooks, int beam, bool with_hessian) {
    QuantizeJob job = Valid();
    job.tensors[0].shape = {1024, 1024};
    job.tensors[1].shape = {1024, 1024};
    if (!with_hessian) job.tensors.pop_back();
    job.spec.levels.codebook_bits = 8;
    job.spec.levels.codebooks = codebooks;
    job.spec.solve.beam = beam;
    return (*Job::Create(job, JobLimits(), 2))->cost();
  };
  const Cost base = cost(2, 1, true);
  EXPECT_GT(cost(4, 1, true).flops, 1.2 * base.flops);
  EXPECT_GT(cost(2, 8, true).seconds, base.seconds);
  EXPECT_LT(cost(2, 1, false).flops, base.flops);
  EXPECT_LT(cost(2, 1, false).peak_bytes, base.peak_bytes);
}

}  // namespace
}  // namespace quantd
