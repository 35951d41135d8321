// Every state x every way to end: one Finish, one event, nothing left behind.
#include <functional>
#include <string>
#include <thread>
#include <tuple>

#include "absl/synchronization/notification.h"
#include "tests/unit/server/session/session_fixture.h"

namespace quantd {
namespace {

using ::quantd::testing::Chunk;
using ::quantd::testing::HeaderFrame;
using ::quantd::testing::ResultOf;
using ::testing::IsEmpty;

enum class Way { kCancel, kDeadline, kStop };

class SessionEndTest : public SessionFixture,
                       public ::testing::WithParamInterface<std::tuple<SessionState, Way>> {
 protected:
  SessionEndTest() {
    options_.max_call = absl::Seconds(100);
    Make();
  }
};

TEST_P(SessionEndTest, FinishesOnceAndGivesEverythingBack) {
  const auto [state, way] = GetParam();
  auto stream = OpenIn(state);
  if (state == SessionState::kSending) {
    ASSERT_TRUE(stream->Take());  // Accepted is being written
  }
  absl::StatusCode expected = absl::StatusCode::kCancelled;
  switch (way) {
    case Way::kCancel:
      stream->session()->OnCancel();
      break;
    case Way::kDeadline:
      expected = absl::StatusCode::kDeadlineExceeded;
      clock_.Advance(absl::Seconds(100));
      stream->session()->Tick();
      break;
    case Way::kStop:
      expected = absl::StatusCode::kUnavailable;
      stream->session()->Stop(absl::UnavailableError("going down"), 0);
      break;
  }
  EXPECT_EQ(stream->session()->state(), SessionState::kEnded);
  if (state == SessionState::kSending) {
    EXPECT_THAT(stream->finished(), IsEmpty()) << "a write is in flight";
    stream->Acknowledge(false);
  }
  ASSERT_EQ(stream->finished().size(), 1u);
  EXPECT_EQ(Code(*stream), expected);
  // No work was running, so nothing has to be waited for.
  EXPECT_EQ(admission_->reserved_bytes(), state == SessionState::kQueued ? kPeak : 0u);
  EXPECT_EQ(admission_->waiting_jobs(), 0);
  EXPECT_EQ(registry_->live(), state == SessionState::kQueued ? 1 : 0);
  RunAll();
  EXPECT_EQ(plan_->runs, state == SessionState::kSending ? 1 : 0);
  const bool had_header = state != SessionState::kHeader;
  ASSERT_EQ(events_.jobs().size(), had_header ? 1u : 0u);
  if (had_header) {
    EXPECT_EQ(events_.jobs()[0].status.code(), expected);
  }
}

std::string CaseName(const ::testing::TestParamInfo<std::tuple<SessionState, Way>>& info) {
  const char* ways[] = {"Cancel", "Deadline", "Stop"};
  return std::string(SessionStateName(std::get<0>(info.param))) +
         ways[static_cast<int>(std::get<1>(info.param))];
}

INSTANTIATE_TEST_SUITE_P(
    States, SessionEndTest,
    ::testing::Combine(::testing::Values(SessionState::kHeader, SessionState::kAdmitting,
                                         SessionState::kQueued, SessionState::kUploading,
                                         SessionState::kRunning, SessionState::kSending),
                       ::testing::Values(Way::kCancel, Way::kDeadline, Way::kStop)),
    CaseName);

class SessionCancelTest : public SessionFixture {};

TEST_F(SessionCancelTest, ARunningJobSeesTheTokenAndKeepsItsMemoryUntilItReturns) {
  auto stream = OpenIn(SessionState::kRunning);
  plan_->run = [&](const RunContext& context) -> absl::StatusOr<JobResult> {
    EXPECT_FALSE(context.cancel->cancelled());
    stream->session()->OnCancel();
    EXPECT_EQ(context.cancel->Check().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(stream->finished().size(), 1u);  // the client does not wait for the kernel
    EXPECT_EQ(admission_->reserved_bytes(), kPeak);
    EXPECT_EQ(registry_->live(), 1);
    return context.cancel->Check();
  };
  RunAll();
  EXPECT_EQ(admission_->reserved_bytes(), 0u);
  EXPECT_EQ(registry_->live(), 0);
  EXPECT_EQ(events_.jobs().size(), 1u);
}

TEST_F(SessionCancelTest, AResultThatComesTooLateIsThrownAway) {
  auto stream = OpenIn(SessionState::kRunning);
  plan_->run = [&](const RunContext&) -> absl::StatusOr<JobResult> {
    stream->session()->OnCancel();
    return ResultOf(10);
  };
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kCancelled);
  EXPECT_EQ(admission_->reserved_bytes(), 0u);
}

TEST_F(SessionCancelTest, TheTokenTellsWhyTheJobStops) {
  absl::StatusCode seen = absl::StatusCode::kOk;
  auto stream = OpenIn(SessionState::kRunning);
  plan_->run = [&](const RunContext& context) -> absl::StatusOr<JobResult> {
    stream->session()->Stop(absl::UnavailableError("bye"), 0);
    seen = context.cancel->Check().code();
    return context.cancel->Check();
  };
  RunAll();
  EXPECT_EQ(seen, absl::StatusCode::kUnavailable);
  EXPECT_EQ(stream->finished()[0].pushback_ms, 0);
}

TEST_F(SessionCancelTest, WhileTheHeaderIsWorkedOnTheJobIsToldOnce) {
  auto stream = Open();
  before_create_ = [&] { stream->session()->OnCancel(); };
  stream->session()->OnFrame(HeaderFrame());
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kCancelled);
  EXPECT_EQ(events_.jobs().size(), 1u);
  EXPECT_THAT(events_.rejects(), IsEmpty());
}

TEST_F(SessionCancelTest, ACancelledQueuedJobLetsTheNextOneIn) {
  auto queued = OpenIn(SessionState::kQueued);
  auto next = Open();
  next->session()->OnFrame(HeaderFrame("next"));
  RunIngest();
  EXPECT_EQ(admission_->waiting_jobs(), 2);
  queued->session()->OnCancel();
  EXPECT_EQ(admission_->waiting_jobs(), 1);
  streams_[0]->session()->OnCancel();  // the holder
  RunIngest();
  EXPECT_EQ(next->session()->state(), SessionState::kUploading);
}

TEST_F(SessionCancelTest, AFailedWriteIsACancel) {
  auto stream = OpenIn(SessionState::kSending);
  ASSERT_TRUE(stream->Take());
  stream->Acknowledge(false);
  EXPECT_EQ(Code(*stream), absl::StatusCode::kCancelled);
  EXPECT_EQ(stream->finished().size(), 1u);
}

// The ingest task that submits Job::Run may still be on its way back while the job runs.
TEST_F(SessionCancelTest, CancelAfterTheDeadlineIsCalledByItsName) {
  CallInfo info;
  info.deadline = clock_.Now() + absl::Seconds(5);
  auto stream = Open(Reader::kEager, info);
  stream->session()->OnFrame(HeaderFrame());
  RunIngest();
  clock_.Advance(absl::Seconds(5));
  stream->session()->OnCancel();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(SessionCancelTest, LateCallbacksAfterTheOwnerLetGoAreHarmless) {
  auto stream = OpenIn(SessionState::kRunning);
  plan_->run = [&](const RunContext& context) -> absl::StatusOr<JobResult> {
    stream->session()->OnCancel();
    stream->Detach();
    context.progress->OnProgress(Phase::kSolving, 0.5);
    registry_->Tick();
    return context.cancel->Check();
  };
  RunAll();
  EXPECT_EQ(registry_->live(), 0);
}

// The ingest task that submits Job::Run may still be on its way back while the job runs.
TEST_F(SessionCancelTest, CancelKeepsTheJobAliveUntilRunReturns) {
  absl::Notification begun, go;
  plan_->run = [&](const RunContext&) -> absl::StatusOr<JobResult> {
    begun.Notify();
    go.WaitForNotification();
    return absl::CancelledError("told so");
  };
  std::thread runner;
  after_submit_ = [&] {
    runner = std::thread([&] { compute_.RunOne(); });
    begun.WaitForNotification();
  };
  auto stream = Open();
  Upload(*stream);
  RunIngest();
  stream->session()->OnCancel();
  EXPECT_EQ(plan_->live, 1);
  EXPECT_NE(admission_->reserved_bytes(), 0u);
  go.Notify();
  runner.join();
  EXPECT_EQ(plan_->live, 0);
}

}  // namespace
}  // namespace quantd
