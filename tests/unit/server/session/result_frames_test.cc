#include "server/session/result_frames.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/fake_job.h"
#include "tests/support/fake_stream.h"

namespace quantd {
namespace {

using ::quantd::testing::LetterOf;
using ::quantd::testing::MeasuredOf;
using ::quantd::testing::ResultOf;

std::string Drain(ResultFrames& frames) {
  std::string letters;
  while (auto frame = frames.Next()) letters += LetterOf(*frame);
  return letters;
}

TEST(ResultFrames, ARejectedWeightHasAReportAndNoTensors) {
  JobResult result = ResultOf(10, 3);
  result.outputs.erase(result.outputs.begin() + 1);
  result.report.tensors[1].outcome = Outcome::kRejected;
  ResultFrames frames(std::move(result), Role::kPacked, "b", 100);
  EXPECT_EQ(Drain(frames), "TcRRTcRF");
}

TEST(ResultFrames, SeveralTensorsOfAWeightComeBeforeItsReport) {
  JobResult result = ResultOf(10, 2);
  for (Output& output : result.outputs) output.decl.weight = 1;
  ResultFrames frames(std::move(result), Role::kPacked, "b", 4);
  EXPECT_EQ(Drain(frames), "RTcccTcccRF");
}

TEST(ResultFrames, AnEmptyTensorHasNoChunks) {
  ResultFrames frames(ResultOf(0), Role::kPacked, "b", 4);
  EXPECT_EQ(Drain(frames), "TRF");
}

TEST(ResultFrames, NothingFollowsFinal) {
  ResultFrames frames(JobResult{}, Role::kWeight, "b", 4);
  EXPECT_EQ(Drain(frames), "F");
  EXPECT_FALSE(frames.Next().has_value());
}

TEST(ResultFrames, CandidatesComeWeightByWeightAndFinalRepeatsNone) {
  JobResult result = MeasuredOf(2, 3);
  result.candidates[4].report.outcome = Outcome::kRejected;
  ResultFrames frames(std::move(result), Role::kPacked, "b", 4);
  std::string order;
  std::optional<wire::ResponseFrame> last;
  while (auto frame = frames.Next()) {
    if (const auto* of = std::get_if<wire::CandidateReportFrame>(&*frame)) {
      order += of->report.report.name + std::to_string(of->report.candidate) + " ";
      EXPECT_EQ(of->report.report.outcome, order.size() == 20 ? Outcome::kRejected : Outcome::kOk);
    }
    last = std::move(frame);
  }
  EXPECT_EQ(order, "w00 w01 w02 w10 w11 w12 ");
  ASSERT_TRUE(last.has_value() && std::holds_alternative<wire::FinalFrame>(*last));
  const wire::FinalFrame& final = std::get<wire::FinalFrame>(*last);
  EXPECT_EQ(final.outcome, Outcome::kOk) << "a candidate that does not fit is an answer";
  EXPECT_TRUE(final.report.tensors.empty());
}

TEST(ResultFrames, CandidatesFollowWhatIsDelivered) {
  JobResult result = ResultOf(4);
  result.candidates = MeasuredOf(1, 2).candidates;
  ResultFrames frames(std::move(result), Role::kPacked, "b", 4);
  EXPECT_EQ(Drain(frames), "TcRMMF");
  EXPECT_FALSE(frames.Next().has_value());
}

TEST(ResultFrames, TheOutcomeIsTheWorstOfTheWeights) {
  JobResult result = ResultOf(1, 2);
  result.report.tensors[0].outcome = Outcome::kDegraded;
  ResultFrames frames(std::move(result), Role::kPacked, "b", 4);
  std::optional<wire::ResponseFrame> last;
  while (auto frame = frames.Next()) last = std::move(frame);
  EXPECT_EQ(std::get<wire::FinalFrame>(*last).outcome, Outcome::kDegraded);
}

}  // namespace
}  // namespace quantd
