#include "server/admission/admission.h"

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/event_recorder.h"
#include "tests/support/fake_clock.h"

namespace quantd {
namespace {

using ::quantd::testing::EventRecorder;
using ::quantd::testing::FakeClock;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Grant = Admission::Grant;
using Queued = Admission::Queued;
using Rejection = Admission::Rejection;

class AdmissionTest : public ::testing::Test {
 protected:
  AdmissionTest() { Make({}); }
  ~AdmissionTest() override {
    while (!grants_.empty()) ReleaseQueued();
  }

  // Callbacks add to grants_ meanwhile.
  void ReleaseQueued() { std::exchange(grants_, {}).clear(); }

  void Make(Admission::Options options) {
    options.budget_bytes = 100;
    options.clock = &clock_;
    options.events = &events_;
    admission_.emplace(options);
  }

  Admission::Decision Submit(int id, uint64_t bytes, int priority = 0, double seconds = 8) {
    return admission_->Submit({bytes, seconds, priority, "rtn"},
                              [this, id](std::variant<Grant, Rejection> answer) {
                                if (auto* grant = std::get_if<Grant>(&answer)) {
                                  admitted_.push_back(id);
                                  grants_.push_back(std::move(*grant));
                                } else {
                                  refused_.push_back(std::get<Rejection>(answer));
                                }
                              });
  }
  Grant Admit(uint64_t bytes) { return std::get<Grant>(Submit(0, bytes)); }
  int64_t Position(Admission::Decision decision) { return std::get<Queued>(decision).position; }

  FakeClock clock_;
  EventRecorder events_;
  std::optional<Admission> admission_;
  std::vector<Grant> grants_;  // of queued jobs, in order of admission
  std::vector<int> admitted_;
  std::vector<Rejection> refused_;
};

TEST_F(AdmissionTest, WhatFitsIsAdmittedAtOnceAndCounted) {
  Grant a = Admit(60);
  EXPECT_TRUE(a.held());
  EXPECT_EQ(a.bytes(), 60u);
  EXPECT_EQ(admission_->reserved_bytes(), 60u);
  EXPECT_EQ(events_.reserved_bytes(), 60u);
  EXPECT_EQ(events_.budget_bytes(), 100u);
  Grant b = std::move(a);
  EXPECT_FALSE(a.held());
  b.Release();
  EXPECT_EQ(admission_->reserved_bytes(), 0u);
  EXPECT_EQ(events_.reserved_bytes(), 0u);
}

TEST_F(AdmissionTest, AJobAboveTheWholeBudgetNeedNeverComeBack) {
  const auto decision = Submit(1, 101);
  const auto* rejection = std::get_if<Rejection>(&decision);
  ASSERT_NE(rejection, nullptr);
  EXPECT_EQ(rejection->reason, RejectReason::kNeverFits);
  EXPECT_EQ(rejection->status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(rejection->status.message()), HasSubstr("101"));
  EXPECT_LT(rejection->pushback_ms, 0);
  EXPECT_THAT(events_.rejects(), ElementsAre(std::pair(RejectReason::kNeverFits, "rtn")));
  EXPECT_FALSE(admission_->EverFits(101));
  EXPECT_TRUE(admission_->EverFits(100));
}

TEST_F(AdmissionTest, QueueIsByPriorityThenFirstComeFirstServed) {
  Grant holder = Admit(100);
  EXPECT_EQ(Position(Submit(1, 40)), 1);
  EXPECT_EQ(Position(Submit(2, 40)), 2);
  EXPECT_EQ(Position(Submit(3, 40, /*priority=*/5)), 1);
  EXPECT_EQ(Position(Submit(4, 40, /*priority=*/-5)), 4);
  EXPECT_EQ(admission_->waiting_jobs(), 4);
  EXPECT_EQ(events_.waiting_jobs(), 4);
  EXPECT_EQ(events_.waiting_bytes(), 160u);
  holder.Release();
  EXPECT_THAT(admitted_, ElementsAre(3, 1));
  ReleaseQueued();
  EXPECT_THAT(admitted_, ElementsAre(3, 1, 2, 4));
  ReleaseQueued();
  EXPECT_EQ(admission_->reserved_bytes(), 0u);
  EXPECT_EQ(events_.waiting_jobs(), 0);
}

TEST_F(AdmissionTest, ALargeJobAtTheHeadIsNotStarvedBySmallOnes) {
  Grant small = Admit(30);
  Grant other = Admit(30);
  EXPECT_EQ(Position(Submit(1, 90)), 1);
  // 40 bytes are free, but the head comes first.
  EXPECT_EQ(Position(Submit(2, 10)), 2);
  small.Release();
  EXPECT_THAT(admitted_, IsEmpty());
  other.Release();
  EXPECT_THAT(admitted_, ElementsAre(1, 2));
}

TEST_F(AdmissionTest, AHigherPriorityThatFitsPassesTheQueue) {
  Grant holder = Admit(60);
  EXPECT_EQ(Position(Submit(1, 90)), 1);
  Grant urgent = std::get<Grant>(Submit(2, 40, /*priority=*/1));
  EXPECT_TRUE(urgent.held());
}

TEST_F(AdmissionTest, QueueIsBoundedByJobs) {
  Admission::Options options;
  options.max_queued_jobs = 2;
  Make(options);
  const Grant holder = Admit(100);
  Submit(1, 1);
  Submit(2, 1);
  const auto decision = Submit(3, 1);
  const auto& rejection = std::get<Rejection>(decision);
  EXPECT_EQ(rejection.reason, RejectReason::kQueueJobs);
  EXPECT_EQ(rejection.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(rejection.pushback_ms, 0);
}

TEST_F(AdmissionTest, QueueIsBoundedByBytesButOneJobMayAlwaysWait) {
  Admission::Options options;
  options.max_queued_bytes = 50;
  Make(options);
  const Grant holder = Admit(100);
  EXPECT_EQ(Position(Submit(1, 80)), 1);
  const auto decision = Submit(2, 1);
  EXPECT_EQ(std::get<Rejection>(decision).reason, RejectReason::kQueueBytes);
  EXPECT_EQ(admission_->waiting_bytes(), 80u);
}

TEST_F(AdmissionTest, PushbackFollowsHowLongJobsHoldTheirMemory) {
  Admission::Options options;
  options.max_queued_jobs = 1;
  Make(options);
  std::vector<int64_t> pushbacks;
  for (int seconds : {2, 40, 4000}) {
    for (int i = 0; i < 30; ++i) {
      Grant job = Admit(100);
      clock_.Advance(absl::Seconds(seconds));
    }
    Grant holder = Admit(100);
    const auto queued = Submit(1, 100);
    const auto refused = Submit(2, 100);
    pushbacks.push_back(std::get<Rejection>(refused).pushback_ms);
    ASSERT_TRUE(admission_->Cancel(std::get<Queued>(queued).ticket));
  }
  EXPECT_NEAR(pushbacks[0], 2000, 700);
  EXPECT_NEAR(pushbacks[1], 40000, 2000);
  EXPECT_EQ(pushbacks[2], 60000);  // nobody is told to wait longer
}

TEST_F(AdmissionTest, CancelTakesAJobOutAndLetsTheNextIn) {
  Grant holder = Admit(60);
  const auto big = Submit(1, 90);
  Submit(2, 40);
  const uint64_t ticket = std::get<Queued>(big).ticket;
  EXPECT_TRUE(admission_->Cancel(ticket));
  EXPECT_THAT(admitted_, ElementsAre(2));
  EXPECT_FALSE(admission_->Cancel(ticket));
  EXPECT_FALSE(admission_->Cancel(12345));
  EXPECT_THAT(refused_, IsEmpty());
  EXPECT_EQ(admission_->waiting_bytes(), 0u);
}

TEST_F(AdmissionTest, WaitingTooLongIsRefusedAndUnblocksTheRest) {
  Admission::Options options;
  options.max_queue_wait = absl::Seconds(30);
  Make(options);
  const Grant holder = Admit(60);
  Submit(1, 90);
  clock_.Advance(absl::Seconds(20));
  Submit(2, 40);
  admission_->Tick();
  EXPECT_THAT(refused_, IsEmpty());
  clock_.Advance(absl::Seconds(11));
  admission_->Tick();
  ASSERT_EQ(refused_.size(), 1u);
  EXPECT_EQ(refused_[0].reason, RejectReason::kQueueTimeout);
  EXPECT_EQ(refused_[0].status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(refused_[0].pushback_ms, 0);
  EXPECT_THAT(admitted_, ElementsAre(2));
  EXPECT_THAT(events_.rejects(), ElementsAre(std::pair(RejectReason::kQueueTimeout, "rtn")));
}

TEST_F(AdmissionTest, DrainRefusesNewAndWaitingJobsAndKeepsRunningOnes) {
  Grant holder = Admit(100);
  Submit(1, 50);
  Submit(2, 50);
  admission_->Drain();
  EXPECT_TRUE(admission_->draining());
  ASSERT_EQ(refused_.size(), 2u);
  EXPECT_EQ(refused_[0].status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(refused_[0].pushback_ms, 0);
  const auto decision = Submit(3, 1);
  EXPECT_EQ(std::get<Rejection>(decision).reason, RejectReason::kDraining);
  EXPECT_TRUE(holder.held());
  holder.Release();
  EXPECT_THAT(admitted_, IsEmpty());
  EXPECT_EQ(admission_->reserved_bytes(), 0u);
  EXPECT_EQ(admission_->waiting_jobs(), 0);
}

TEST_F(AdmissionTest, CallbacksMayCallBack) {
  Grant holder = Admit(100);
  bool called = false;
  admission_->Submit({100, 1, 0, "rtn"}, [&](std::variant<Grant, Rejection> answer) {
    called = true;
    Submit(7, 10);
    std::get<Grant>(answer).Release();
  });
  holder.Release();
  EXPECT_TRUE(called);
  EXPECT_THAT(admitted_, ElementsAre(7));
}

TEST_F(AdmissionTest, ThreadsKeepTheBudgetAndEveryJobIsAnsweredOnce) {
  std::atomic<int> answered{0};
  std::atomic<int> cancelled{0};
  constexpr int kThreads = 4;
  constexpr int kJobs = 300;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kJobs; ++i) {
        const uint64_t bytes = 10 + (i * 7 + t * 13) % 80;
        auto decision = admission_->Submit({bytes, 1, i % 3, "rtn"},
                                           [&](std::variant<Grant, Rejection>) { ++answered; });
        EXPECT_LE(admission_->reserved_bytes(), 100u);
        const auto* queued = std::get_if<Queued>(&decision);
        if (queued == nullptr) {
          ++answered;
        } else if (i % 4 == 0 && admission_->Cancel(queued->ticket)) {
          ++cancelled;
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(answered + cancelled, kThreads * kJobs);
  EXPECT_EQ(admission_->reserved_bytes(), 0u);
  EXPECT_EQ(admission_->waiting_jobs(), 0);
}

}  // namespace
}  // namespace quantd
