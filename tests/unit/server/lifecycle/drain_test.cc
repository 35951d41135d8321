#include "server/lifecycle/drain.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quantd {
namespace {

using testing::ElementsAre;

class ManualClock : public Clock {
 public:
  absl::Time Now() const override { return now; }
  absl::Time now = absl::UnixEpoch();
};

// Time passes only while someone waits for a signal.
class FakeSignals : public SignalSource {
 public:
  explicit FakeSignals(ManualClock* clock) : clock_(clock) {}
  int Wait(absl::Duration timeout) override {
    clock_->now += timeout;
    if (clock_->now >= second_signal) return 15;
    on_wait();
    return 0;
  }
  absl::Time second_signal = absl::InfiniteFuture();
  std::function<void()> on_wait = [] {};

 private:
  ManualClock* clock_;
};

class DrainTest : public testing::Test {
 protected:
  DrainSteps Steps() {
    DrainSteps steps;
    steps.refuse_new = [this] { log_.push_back("refuse"); };
    steps.running_jobs = [this] { return running_; };
    steps.cancel_running = [this] { log_.push_back("cancel"); };
    steps.shutdown = [this](absl::Duration grace) {
      log_.push_back("shutdown");
      grace_ = grace;
    };
    return steps;
  }

  ManualClock clock_;
  FakeSignals signals_{&clock_};
  int running_ = 0;
  absl::Duration grace_;
  std::vector<std::string> log_;
};

TEST_F(DrainTest, AnIdleServerEndsAtOnce) {
  EXPECT_EQ(Drain(Steps(), absl::Seconds(25), clock_, &signals_), DrainEnd::kIdle);
  EXPECT_THAT(log_, ElementsAre("refuse", "shutdown"));
  EXPECT_EQ(clock_.now, absl::UnixEpoch());
  EXPECT_LT(grace_, absl::Seconds(1))
      << "no status is on its way, and watchers need not be waited for";
}

TEST_F(DrainTest, RunningJobsFinish) {
  running_ = 3;
  signals_.on_wait = [this] { running_ -= 1; };
  EXPECT_EQ(Drain(Steps(), absl::Seconds(25), clock_, &signals_), DrainEnd::kIdle);
  EXPECT_THAT(log_, ElementsAre("refuse", "shutdown"));
  EXPECT_GE(grace_, absl::Seconds(1)) << "the last status must arrive";
}

TEST_F(DrainTest, JobsThatOutliveTheDeadlineAreCancelled) {
  running_ = 1;
  EXPECT_EQ(Drain(Steps(), absl::Seconds(25), clock_, &signals_), DrainEnd::kDeadline);
  EXPECT_THAT(log_, ElementsAre("refuse", "cancel", "shutdown"));
  EXPECT_EQ(clock_.now, absl::UnixEpoch() + absl::Seconds(25));
}

TEST_F(DrainTest, ASecondSignalForces) {
  running_ = 1;
  signals_.second_signal = absl::UnixEpoch() + absl::Seconds(3);
  EXPECT_EQ(Drain(Steps(), absl::Seconds(25), clock_, &signals_), DrainEnd::kForced);
  EXPECT_THAT(log_, ElementsAre("refuse", "cancel", "shutdown"));
  EXPECT_LT(clock_.now, absl::UnixEpoch() + absl::Seconds(4));
  EXPECT_LT(grace_, absl::Seconds(1));
}

}  // namespace
}  // namespace quantd
