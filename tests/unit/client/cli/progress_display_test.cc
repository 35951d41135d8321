#include "client/cli/progress_display.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  ProgressDisplay display(&out_, true, 4, 4'000'000'000, [this] { return now_; });
  now_ += absl::Seconds(2);
  display.Done(1, 1'000'000'000);
  EXPECT_EQ(display.Line(), "[======                  ] 1/4 tensors  0.500 GB/s  ETA 6.00 s");
  EXPECT_THAT(out_.str(), HasSubstr("\r"));
}

TEST_F(ProgressDisplayTest, PlainLinesComeNowAndThenAndAtTheEnd) {
  ProgressDisplay display(&out_, false, 4, 4, [this] { return now_; });
  display.Done(1, 1);
  EXPECT_EQ(out_.str(), "");
  now_ += absl::Seconds(6);
  display.Done(1, 1);
  EXPECT_THAT(out_.str(), HasSubstr("2/4 tensors"));
  display.Done(2, 2);
  display.Close();
  EXPECT_THAT(out_.str(), HasSubstr("4/4 tensors"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("\r")));
  EXPECT_THAT(out_.str(), Not(HasSubstr("[")));
}

TEST_F(ProgressDisplayTest, MessagesStandOnLinesOfTheirOwn) {
  ProgressDisplay display(&out_, true, 4, 4, [this] { return now_; });
  now_ += absl::Seconds(1);
  display.Done(1, 1);
  display.Say("server away");
  EXPECT_THAT(out_.str(), HasSubstr("\x1b[Kserver away\n"));
}

}  // namespace
}  // namespace quantd::cli
