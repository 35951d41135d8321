#include "client/cli/progress_display.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <sstream>

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ProgressDisplayTest : public ::testing::Test {
 protected:
  std::ostringstream out_;
  absl::Time now_ = absl::UnixEpoch();
};

TEST_F(ProgressDisplayTest, TellsTensorsRateAndTimeLeft) {
  ProgressDisplay display(&out_, true, 4, {4'000'000'000, 4}, [this] { return now_; });
  now_ += absl::Seconds(2);
  display.Done(1, {1'000'000'000, 1});
  EXPECT_EQ(display.Line(), "[======                  ] 1/4 tensors  0.500 GB/s  ETA 6.00 s");
  EXPECT_EQ(display.EtaSeconds(), 6.0);
  EXPECT_THAT(out_.str(), HasSubstr("\r"));
}

TEST_F(ProgressDisplayTest, PlainLinesComeNowAndThenAndAtTheEnd) {
  ProgressDisplay display(&out_, false, 4, {4, 4}, [this] { return now_; });
  display.Done(1, {1, 1});
  EXPECT_EQ(out_.str(), "");
  now_ += absl::Seconds(6);
  display.Done(1, {1, 1});
  EXPECT_THAT(out_.str(), HasSubstr("2/4 tensors"));
  display.Done(2, {2, 2});
  display.Close();
  EXPECT_THAT(out_.str(), HasSubstr("4/4 tensors"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("\r")));
  EXPECT_THAT(out_.str(), Not(HasSubstr("[")));
}

TEST_F(ProgressDisplayTest, TheTimeLeftGoesByTheWorkAndTheRateByTheBytes) {
  ProgressDisplay display(&out_, true, 4, {4'000'000'000, 10}, [this] { return now_; });
  display.Solving(7, {1'000'000'000, 2}, {Phase::kSolving, 0, 0, {}});
  now_ += absl::Seconds(5);
  display.Done(1, {1'000'000'000, 4});
  display.Solving(7, {1'000'000'000, 2}, {Phase::kSolving, 0.5, 0, {}});
  EXPECT_EQ(display.Line(), "[============            ] 1/4 tensors  0.300 GB/s  ETA 5.00 s");
}

wire::ProgressFrame Solving(double fraction, double eta, int round, double loss) {
  return {Phase::kSolving, fraction, eta, {{0, static_cast<uint32_t>(round), loss}}};
}

TEST_F(ProgressDisplayTest, ASolveUnderWayCountsAsFarAsItIsAndShowsRoundAndLoss) {
  ProgressDisplay display(&out_, true, 4, {4'000'000'000, 4}, [this] { return now_; });
  display.Solving(7, {1'000'000'000, 1}, Solving(0, 0, 1, 0.5));
  now_ += absl::Seconds(10);
  display.Solving(7, {1'000'000'000, 1}, Solving(0.5, 10, 4, 0.01812));
  EXPECT_EQ(display.Line(),
            "[===                     ] 0/4 tensors  0.050 GB/s  ETA 1 min 10 s  "
            "round 4, loss 0.0181");
  display.Over(7);
  EXPECT_EQ(display.Line(), "[                        ] 0/4 tensors  0.000 GB/s");
}

TEST_F(ProgressDisplayTest, WhatAnEarlierRunSolvedIsNoPaceOfThisOne) {
  ProgressDisplay display(&out_, true, 1, {1'000'000'000, 1}, [this] { return now_; });
  display.Solving(0, {1'000'000'000, 1}, Solving(0.5, 0, 9, 0.02));
  now_ += absl::Seconds(10);
  display.Solving(0, {1'000'000'000, 1}, Solving(0.6, 0, 9, 0.02));
  EXPECT_THAT(display.Line(), HasSubstr("ETA 40 s"));
}

TEST_F(ProgressDisplayTest, ALogGetsALineOfALongSolveNowAndThen) {
  ProgressDisplay display(&out_, false, 1, {1'000'000'000, 1}, [this] { return now_; });
  for (int i = 0; i < 100; ++i) {
    now_ += absl::Seconds(1);
    display.Solving(0, {1'000'000'000, 1}, Solving(i / 1000.0, 1000, i, 0.02));
  }
  const std::string text = out_.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_THAT(text, HasSubstr("round 29, loss 0.02\n"));
}

TEST_F(ProgressDisplayTest, TheTimeLeftIsUnknownBeforeTheFirstTensorAndAfterTheLast) {
  ProgressDisplay display(&out_, true, 1, {1'000'000'000, 1}, [this] { return now_; });
  now_ += absl::Seconds(1);
  EXPECT_EQ(display.EtaSeconds(), std::nullopt);
  display.Done(1, {1'000'000'000, 1});
  EXPECT_EQ(display.EtaSeconds(), std::nullopt);
}

TEST_F(ProgressDisplayTest, MessagesStandOnLinesOfTheirOwn) {
  ProgressDisplay display(&out_, true, 4, {4, 4}, [this] { return now_; });
  now_ += absl::Seconds(1);
  display.Done(1, {1, 1});
  display.Say("server away");
  EXPECT_THAT(out_.str(), HasSubstr("\x1b[Kserver away\n"));
}

}  // namespace
}  // namespace quantd::cli
