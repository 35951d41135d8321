// Jobs that are taken up again from each of their states.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/reference/shuffled_executor.h"
#include "tests/unit/workers/engine/job_fixture.h"
#include "workers/compose/plan.h"
#include "workers/engine/job_state.h"
#include "workers/methods/resolve.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kN = 64;

using Settings = std::vector<std::pair<std::string, std::string>>;

// Two weights of a layer group, and statistics.
class ResumeTest : public JobFixture, public ::testing::WithParamInterface<Settings> {
 protected:
  ResumeTest() {
    const std::vector<float> x = reference::CorrelatedActivations(2 * kN, kN, 31);
    uploads_ = {F32("q.weight", Role::kWeight, {48, kN}, reference::HeavyTailedWeight(48, kN, 32)),
                F32("k.weight", Role::kWeight, {32, kN}, reference::HeavyTailedWeight(32, kN, 33)),
                F32("x", Role::kActivations, {2 * kN, kN}, x)};
  }

  QuantizeJob JobOf(const std::vector<Upload>& uploads, const Settings& settings) const {
    QuantizeJob job = RtnJob(uploads);
    Settings all = {{"codebook-bits", "4"}, {"in-group", "4"},     {"fit-iterations", "3"},
                    {"rounds", "2"},        {"update-steps", "2"}, {"tolerance", "0"},
                    {"refine-rounds", "0"}};
    all.insert(all.end(), settings.begin(), settings.end());
    const absl::StatusOr<Spec> spec = ResolveSpec("aqlm", all);
    EXPECT_TRUE(spec.ok()) << spec.status();
    if (spec.ok()) job.spec = *spec;
    job.layout = "plain";
    job.checkpoint_seconds = 1;
    return job;
  }

  // The undisturbed run, and every state on its way.
  absl::StatusOr<JobResult> RunWhole(const QuantizeJob& job) {
    RecordedStates sink;
    states_ = &sink;
    absl::StatusOr<JobResult> result = Run(job, uploads_);
    states_ = nullptr;
    saved_ = std::move(sink.states);
    return result;
  }

  absl::StatusOr<JobResult> RunFrom(const QuantizeJob& job, const std::string& state,
                                    Executor* executor = nullptr) {
    QuantizeJob next = job;
    std::vector<Upload> uploads = uploads_;
    uploads.push_back(Checkpoint(state));
    next.tensors.push_back(uploads.back().decl);
    return Run(next, uploads, size_t{1} << 20, executor);
  }

  Digest RequestOf(const QuantizeJob& job) const {
    std::vector<Digest> digests;
    for (const Upload& u : uploads_) digests.push_back(DigestOf(u.bytes));
    return RequestDigest(job, digests);
  }

  std::vector<Upload> uploads_;
  std::vector<std::string> saved_;
};

TEST_P(ResumeTest, EveryStateEndsInTheBytesOfAnUndisturbedRun) {
  const QuantizeJob job = JobOf(uploads_, GetParam());
  const absl::StatusOr<JobResult> whole = RunWhole(job);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const absl::StatusOr<JobResult> silent = Run(job, uploads_);
  ASSERT_TRUE(silent.ok()) << silent.status();
  ASSERT_EQ(Digests(*silent), Digests(*whole)) << "asking for states must change nothing";

  ASSERT_GE(saved_.size(), 20u);
  const uint64_t bound = StateBytes(job.spec, 48, kN) + StateBytes(job.spec, 32, kN) + 1024;
  reference::ShuffledExecutor shuffled(3);
  const size_t step = std::max<size_t>(1, saved_.size() / 60);
  size_t rounds = progress_.rounds.size();
  for (size_t i = 0; i < saved_.size(); i += step) {
    EXPECT_LE(saved_[i].size(), bound) << i;
    progress_.rounds.clear();
    const absl::StatusOr<JobResult> resumed =
        RunFrom(job, saved_[i], i % 2 == 0 ? nullptr : &shuffled);
    ASSERT_TRUE(resumed.ok()) << i << " of " << saved_.size() << ": " << resumed.status();
    ASSERT_EQ(Digests(*resumed), Digests(*whole)) << i << " of " << saved_.size();
    EXPECT_LE(progress_.rounds.size(), rounds) << "what was done is not done again";
    rounds = progress_.rounds.size();
    for (int w = 0; w < 2; ++w) {
      EXPECT_EQ(resumed->report.tensors[w].error.output_relative_error,
                whole->report.tensors[w].error.output_relative_error);
    }
  }
  EXPECT_LE(rounds, 2u) << "the last states know all but the last rounds";
}

std::string NameOf(const ::testing::TestParamInfo<Settings>& info) {
  std::string name = absl::StrCat("v", info.index);
  for (const auto& [key, value] : info.param) absl::StrAppend(&name, "_", key, "_", value);
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Solves, ResumeTest,
    ::testing::Values(Settings{}, Settings{{"update", "adam"}, {"adam", "code"}},
                      Settings{{"update", "adam"}, {"adam", "paper"}, {"beam", "2"}},
                      Settings{{"granularity", "group"}, {"group-size", "4"}},
                      Settings{{"granularity", "group"}, {"group-size", "4"}, {"storage", "table"}},
                      Settings{{"out-group", "2"}, {"refine-rounds", "2"}, {"seeding", "farthest"}},
                      Settings{{"points-per-center", "6"}, {"seeding", "random"}}),
    NameOf);

class ResumeErrorsTest : public ResumeTest {};

TEST_F(ResumeErrorsTest, EachWeightGoesOnWhereItWas) {
  const QuantizeJob job = JobOf(uploads_, {});
  ASSERT_TRUE(RunWhole(job).ok());
  const size_t all_rounds = progress_.rounds.size();
  JobState last(RequestOf(job), 2), middle(RequestOf(job), 2);
  ASSERT_TRUE(last.Load(saved_.back()).ok()) << last.Load(saved_.back());
  ASSERT_TRUE(middle.Load(saved_[saved_.size() / 4]).ok());
  EXPECT_NE(last.Of(0), "");
  EXPECT_NE(last.Of(1), "");
  EXPECT_NE(middle.Of(0), "");
  EXPECT_EQ(middle.Of(1), "") << "the second weight has not begun";
  // Nothing is solved again from the last state.
  progress_.rounds.clear();
  ASSERT_TRUE(RunFrom(job, saved_.back()).ok());
  EXPECT_EQ(progress_.rounds.size(), 0u);
  EXPECT_GE(all_rounds, 4u);
}

TEST_F(ResumeErrorsTest, NoStatesAreMadeUnlessTheyAreWanted) {
  QuantizeJob job = JobOf(uploads_, {});
  job.checkpoint_seconds = 0;
  ASSERT_TRUE(RunWhole(job).ok());
  EXPECT_TRUE(saved_.empty());
}

TEST_F(ResumeErrorsTest, AnotherRequestIsRefusedByName) {
  const QuantizeJob job = JobOf(uploads_, {});
  ASSERT_TRUE(RunWhole(job).ok());
  const std::string state = saved_[saved_.size() / 2];
  const auto refused = [&](const QuantizeJob& other) {
    const absl::Status s = RunFrom(other, state).status();
    EXPECT_EQ(s.code(), absl::StatusCode::kFailedPrecondition) << s;
    EXPECT_THAT(std::string(s.message()),
                HasSubstr("tensor 'state': CHECKPOINT belongs to another request"));
  };
  QuantizeJob other = job;
  other.spec.solve.beam = 2;
  refused(other);
  uploads_[2].bytes[40] ^= std::byte{1};  // another X
  refused(job);
}

TEST_F(ResumeErrorsTest, DamagedBytesAreRefused) {
  const QuantizeJob job = JobOf(uploads_, {});
  ASSERT_TRUE(RunWhole(job).ok());
  const std::string& state = saved_.back();
  for (const size_t length : {size_t{1}, size_t{5}, state.size() / 2, state.size() - 1}) {
    const absl::Status s = RunFrom(job, state.substr(0, length)).status();
    EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument) << s;
    EXPECT_THAT(std::string(s.message()), HasSubstr("tensor 'state': CHECKPOINT"));
  }
}

// The digest of the bytes is right, but someone made up what is in them.
TEST_F(ResumeErrorsTest, MadeUpStatesNeverCrash) {
  const QuantizeJob job = JobOf(uploads_, {{"update", "adam"}});
  ASSERT_TRUE(RunWhole(job).ok());
  const Digest request = RequestOf(job);
  const auto run = [&](const std::string& of_weight) {
    JobState forged(request, 2);
    forged.Set(0, of_weight);
    return RunFrom(job, forged.Compose()).status();
  };
  for (const size_t pick : {size_t{0}, saved_.size() / 8, saved_.size() / 3}) {
    JobState real(request, 2);
    ASSERT_TRUE(real.Load(saved_[pick]).ok());
    const std::string inner(real.Of(0));
    for (size_t length = 1; length < inner.size(); length += 1 + inner.size() / 50) {
      EXPECT_EQ(run(inner.substr(0, length)).code(), absl::StatusCode::kInvalidArgument) << length;
    }
    EXPECT_EQ(run(inner + "x").code(), absl::StatusCode::kInvalidArgument);
    for (size_t at = 0; at < inner.size(); at += at < 90 ? 3 : 1 + inner.size() / 40) {
      std::string bad = inner;
      bad[at] = static_cast<char>(~bad[at]);
      const absl::Status s = run(bad);
      EXPECT_TRUE(s.ok() || s.code() == absl::StatusCode::kInvalidArgument) << at << ": " << s;
    }
  }
}

TEST_F(ResumeErrorsTest, AJobThatIsStoppedMidwayCanGoOn) {
  class StopAfter : public RecordedStates {
   public:
    StopAfter(size_t count, CancelToken* cancel) : count_(count), cancel_(cancel) {}
    void Save(std::string state) override {
      RecordedStates::Save(std::move(state));
      if (states.size() == count_) cancel_->Cancel();
    }

   private:
    size_t count_;
    CancelToken* cancel_;
  };
  const QuantizeJob job = JobOf(uploads_, {});
  const absl::StatusOr<JobResult> whole = RunWhole(job);
  ASSERT_TRUE(whole.ok());
  const auto created = Job::Create(job, JobLimits(), 1);
  ASSERT_TRUE(created.ok());
  CancelToken cancel;
  StopAfter sink(saved_.size() / 2, &cancel);
  InlineExecutor executor;
  const RunContext context{&executor, &cancel, &progress_, &sink};
  ASSERT_TRUE((*created)->Begin(context).ok());
  for (int i = 0; i < static_cast<int>(uploads_.size()); ++i) {
    ASSERT_TRUE((*created)->Write(i, 0, uploads_[i].bytes).ok());
    (*created)->Complete(i, DigestOf(uploads_[i].bytes));
  }
  EXPECT_EQ((*created)->Run(context).status().code(), absl::StatusCode::kCancelled);
  ASSERT_EQ(sink.states.size(), saved_.size() / 2) << "nothing was begun after the stop";
  const absl::StatusOr<JobResult> resumed = RunFrom(job, sink.states.back());
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(Digests(*resumed), Digests(*whole));
}

}  // namespace
}  // namespace quantd
