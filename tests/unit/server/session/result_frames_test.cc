#include "server/session/result_frames.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/support/fake_job.h"

namespace quantd {
namespace {

using ::quantd::testing::ResultOf;

std::string Drain(ResultFrames& frames) {
  std::string letters;
  while (auto frame = frames.Next()) letters += "APTcRF"[frame->index()];
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
