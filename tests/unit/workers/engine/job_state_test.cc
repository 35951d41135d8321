#include "workers/engine/job_state.h"

#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "workers/core/state_bytes.h"
#include "workers/engine/job_watch.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;

Digest DigestOfText(absl::string_view text) {
  return DigestOf({reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

const Digest kRequest = DigestOfText("request");

JobState ThreeWeights() {
  JobState state(kRequest, 3);
  state.Set(0, "done");
  state.Set(1, std::string("under\0way", 9));
  return state;
}

TEST(JobStateTest, GivesBackWhatItWasTold) {
  const std::string bytes = ThreeWeights().Compose();
  JobState state(kRequest, 3);
  ASSERT_TRUE(state.Load(bytes).ok()) << state.Load(bytes);
  EXPECT_EQ(state.Of(0), "done");
  EXPECT_EQ(state.Of(1), absl::string_view("under\0way", 9));
  EXPECT_EQ(state.Of(2), "");
  EXPECT_EQ(state.Compose(), bytes);
  state.Set(1, "further");
  EXPECT_EQ(state.Of(0), "done");
  EXPECT_EQ(state.Of(1), "further");
}

TEST(JobStateTest, OfAnotherRequestIsAFailedPrecondition) {
  const std::string bytes = ThreeWeights().Compose();
  JobState other(DigestOfText("another request"), 3);
  const absl::Status s = other.Load(bytes);
  EXPECT_EQ(s.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(s.message(), "CHECKPOINT belongs to another request");
}

TEST(JobStateTest, DamagedBytesAreRefusedWhereverTheDamageIs) {
  const std::string bytes = ThreeWeights().Compose();
  for (size_t length = 0; length < bytes.size(); ++length) {
    JobState state(kRequest, 3);
    const absl::Status s = state.Load(absl::string_view(bytes).substr(0, length));
    EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument) << length;
    EXPECT_EQ(state.Of(0), "") << "nothing is taken over";
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string bad = bytes;
    bad[at] ^= 1;
    EXPECT_EQ(JobState(kRequest, 3).Load(bad).code(), absl::StatusCode::kInvalidArgument) << at;
  }
  EXPECT_EQ(JobState(kRequest, 3).Load(bytes + "x").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(JobState(kRequest, 2).Load(bytes).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(JobState(kRequest, 3).Load("no state").message()),
              HasSubstr("no state of a job"));
}

// Lengths that lie although the digest is right: someone made them so.
TEST(JobStateTest, LengthsBeyondTheEndAreRefused) {
  const auto sealed = [](uint32_t count, const std::vector<uint64_t>& lengths) {
    StateWriter out;
    for (const char c : {'Q', 'D', 'J', 'S'}) out.Number(c);
    out.Number(uint32_t{1});
    for (const uint8_t b : kRequest.bytes) out.Number(b);
    out.Number(count);
    for (const uint64_t length : lengths) out.Number(length);
    std::string bytes = out.Take();
    const Digest digest = DigestOfText(bytes);
    bytes.append(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
    return bytes;
  };
  EXPECT_TRUE(JobState(kRequest, 2).Load(sealed(2, {0, 0})).ok());
  for (const uint64_t length : {uint64_t{1}, uint64_t{9}, ~uint64_t{0}, uint64_t{1} << 63}) {
    EXPECT_EQ(JobState(kRequest, 2).Load(sealed(2, {0, length})).code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(JobState(kRequest, 2).Load(sealed(2, {0})).ok());
  EXPECT_FALSE(JobState(kRequest, 2).Load(sealed(2, {0, 0, 0})).ok());
  EXPECT_FALSE(JobState(kRequest, 2).Load(sealed(0xFFFFFFFFu, {0, 0})).ok());
  EXPECT_FALSE(JobState(kRequest, 0).Load(sealed(0, {0})).ok());
}

TEST(JobStateTest, RequestsThatEndInOtherBytesHaveOtherDigests) {
  QuantizeJob job;
  job.spec.method = "aqlm";
  job.tensors = {{"w", Role::kWeight, DType::kF32, {4, 8}, std::nullopt, ""},
                 {"h", Role::kHessian, DType::kF32, {8, 8}, std::nullopt, ""}};
  std::vector<Digest> digests = {DigestOfText("a"), DigestOfText("b")};
  const Digest base = RequestDigest(job, digests);
  std::set<Digest> seen = {base};
  const auto differs = [&](auto change) {
    QuantizeJob other = job;
    std::vector<Digest> theirs = digests;
    change(&other, &theirs);
    EXPECT_TRUE(seen.insert(RequestDigest(other, theirs)).second) << seen.size();
  };
  differs([](QuantizeJob* j, auto*) { j->spec.solve.beam = 2; });
  differs([](QuantizeJob* j, auto*) { j->spec.fit.seed = 1; });
  differs([](QuantizeJob* j, auto*) { j->spec.method = "other"; });
  differs([](QuantizeJob* j, auto*) { j->tensors[0].name = "v"; });
  differs([](QuantizeJob* j, auto*) { j->tensors[0].dtype = DType::kBF16; });
  differs([](QuantizeJob* j, auto*) { j->tensors[0].shape = {8, 4}; });
  differs([](QuantizeJob* j, auto*) { j->tensors[0].of = "h"; });
  differs([](QuantizeJob* j, auto*) { j->tensors.pop_back(); });
  differs([](QuantizeJob*, auto* d) { (*d)[1] = DigestOfText("c"); });

  QuantizeJob same = job;
  same.id = "another";
  same.layout = "aqlm";
  same.priority = 3;
  same.checkpoint_seconds = 60;
  same.tensors.push_back({"s", Role::kCheckpoint, DType::kU8, {7}, std::nullopt, ""});
  digests.push_back(DigestOfText("state"));
  EXPECT_EQ(RequestDigest(same, digests), base);
}

class Sink : public ProgressSink, public StateSink {
 public:
  void OnProgress(Phase phase, double fraction) override {
    EXPECT_EQ(phase, Phase::kSolving);
    fractions.push_back(fraction);
  }
  void OnRound(int weight, int, double) override { weights.push_back(weight); }
  bool Due() override { return due; }
  void Save(std::string state) override { saved.push_back(std::move(state)); }
  bool due = true;
  std::vector<double> fractions;
  std::vector<int> weights;
  std::vector<std::string> saved;
};

Spec BeamSpec() {
  Spec spec;
  spec.solve.solver = Solver::kBeam;
  return spec;
}

TEST(JobWatchTest, WeightsCountByTheirRowsAndSolvesForMostOfThem) {
  Sink sink;
  JobState state(kRequest, 2);
  JobWatch watch(BeamSpec(), {100, 300}, &sink, nullptr, &state);
  watch.Begin(0);
  watch.OnFraction(0.5);
  watch.OnFraction(1.0);
  watch.OnRows(60);
  watch.OnRows(40);
  watch.Begin(1);
  watch.OnRound(1, 0.25);
  watch.OnFraction(0.5);
  watch.OnRows(300);
  const double expected[] = {0.25 * 0.475, 0.25 * 0.95,         0.25 * 0.98,
                             0.25,         0.25 + 0.75 * 0.475, 1.0};
  ASSERT_EQ(sink.fractions.size(), 6u);
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(sink.fractions[i], expected[i], 1e-12) << i;
  EXPECT_EQ(sink.fractions.back(), 1.0);
  EXPECT_THAT(sink.weights, ::testing::ElementsAre(1));
}

TEST(JobWatchTest, OtherSolversCountRowsAlone) {
  Sink sink;
  JobState state(kRequest, 1);
  JobWatch watch(Spec(), {4}, &sink, nullptr, &state);
  watch.Begin(0);
  watch.OnRows(1);
  EXPECT_EQ(sink.fractions.back(), 0.25);
}

TEST(JobWatchTest, EveryStateHoldsAllWeightsSoFar) {
  Sink sink;
  JobState state(kRequest, 2);
  JobWatch watch(BeamSpec(), {1, 1}, &sink, &sink, &state);
  watch.Begin(0);
  EXPECT_TRUE(watch.StateDue());
  watch.OnState("a1");
  sink.due = false;
  EXPECT_FALSE(watch.StateDue());
  watch.OnState("a2");  // the end of a solve is told whether a state is due or not
  EXPECT_EQ(sink.saved.size(), 1u);
  sink.due = true;
  watch.Begin(1);
  watch.OnState("b1");
  ASSERT_EQ(sink.saved.size(), 2u);
  JobState back(kRequest, 2);
  ASSERT_TRUE(back.Load(sink.saved[1]).ok());
  EXPECT_EQ(back.Of(0), "a2");
  EXPECT_EQ(back.Of(1), "b1");
}

// A job that is interrupted again while it repeats the ends of its first weights.
TEST(JobWatchTest, AStateThatWasTakenUpLosesNothing) {
  JobState before(kRequest, 2);
  before.Set(0, "a");
  before.Set(1, "b");
  const std::string bytes = before.Compose();
  Sink sink;
  JobState state(kRequest, 2);
  ASSERT_TRUE(state.Load(bytes).ok());
  JobWatch watch(BeamSpec(), {1, 1}, &sink, &sink, &state);
  watch.Begin(0);
  watch.OnState("a");
  ASSERT_EQ(sink.saved.size(), 1u);
  EXPECT_EQ(sink.saved[0], bytes);
}

TEST(JobWatchTest, NothingIsKeptWhereNoStatesAreWanted) {
  Sink sink;
  JobState state(kRequest, 1);
  JobWatch watch(BeamSpec(), {1}, &sink, nullptr, &state);
  watch.Begin(0);
  EXPECT_FALSE(watch.StateDue());
  watch.OnState("a");
  EXPECT_EQ(state.Of(0), "");
}

}  // namespace
}  // namespace quantd
