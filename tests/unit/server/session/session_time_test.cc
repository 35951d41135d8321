// Timeouts and progress, with a clock that the test moves.
#include <string>
#include <vector>

#include "tests/unit/server/session/session_fixture.h"

namespace quantd {
namespace {

using ::quantd::testing::Chunk;
using ::quantd::testing::HeaderFrame;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SessionTimeTest : public SessionFixture {
 protected:
  void Pass(Session& session, absl::Duration by) {
    clock_.Advance(by);
    session.Tick();
  }
};

TEST_F(SessionTimeTest, AHeaderMustComeInTime) {
  auto stream = Open();
  Pass(*stream->session(), options_.header_timeout);
  EXPECT_THAT(stream->finished(), IsEmpty());
  Pass(*stream->session(), absl::Milliseconds(1));
  EXPECT_EQ(Code(*stream), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Message(*stream), HasSubstr("header"));
}

TEST_F(SessionTimeTest, AnUploadMustMove) {
  auto stream = OpenIn(SessionState::kUploading);
  Pass(*stream->session(), options_.upload_timeout + absl::Milliseconds(1));
  EXPECT_EQ(Code(*stream), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Message(*stream), HasSubstr("upload"));
  EXPECT_EQ(admission_->reserved_bytes(), 0u);
}

TEST_F(SessionTimeTest, ATrickleIsNoMovementButRealChunksAre) {
  options_.upload_progress_bytes = 50;
  Make();
  auto fast = OpenIn(SessionState::kUploading);
  for (int i = 0; i < 4; ++i) {
    Pass(*fast->session(), absl::Seconds(50));
    fast->session()->OnFrame(Chunk(50 * i, 50));
    RunIngest();
  }
  EXPECT_THAT(fast->finished(), IsEmpty());
  fast->session()->OnCancel();
  RunAll();

  auto slow = OpenIn(SessionState::kUploading);
  for (int i = 0; i < 40 && slow->finished().empty(); ++i) {
    Pass(*slow->session(), absl::Seconds(2));
    slow->session()->OnFrame(Chunk(i, 1));
    RunIngest();
  }
  EXPECT_EQ(Code(*slow), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(SessionTimeTest, TimeInTheQueueOrWithoutReadsIsNotTheClientsFault) {
  auto queued = OpenIn(SessionState::kQueued);
  Pass(*queued->session(), absl::Hours(1));
  EXPECT_THAT(queued->finished(), IsEmpty());
  streams_[0]->session()->OnCancel();
  RunAll();
  EXPECT_EQ(queued->session()->state(), SessionState::kUploading);

  options_.inbox_bytes = 100;
  queued->session()->OnCancel();
  RunAll();
  Make();
  auto paused = OpenIn(SessionState::kUploading);
  EXPECT_FALSE(paused->session()->OnFrame(Chunk(0, 100)));
  Pass(*paused->session(), absl::Hours(1));
  EXPECT_THAT(paused->finished(), IsEmpty());
  RunIngest();
  Pass(*paused->session(), absl::Seconds(59));
  EXPECT_THAT(paused->finished(), IsEmpty());
}

TEST_F(SessionTimeTest, AWriteThatHangsIsTornDown) {
  auto stream = OpenIn(SessionState::kSending);
  ASSERT_TRUE(stream->Take());
  Pass(*stream->session(), options_.write_timeout);
  EXPECT_EQ(stream->aborts(), 0);
  Pass(*stream->session(), absl::Milliseconds(1));
  EXPECT_EQ(stream->aborts(), 1);
  EXPECT_EQ(admission_->reserved_bytes(), 0u);  // memory does not wait for the transport
  EXPECT_THAT(stream->finished(), IsEmpty());
  stream->session()->OnCancel();
  Pass(*stream->session(), absl::Hours(1));
  EXPECT_EQ(stream->aborts(), 1);
  stream->Acknowledge(false);
  EXPECT_EQ(Code(*stream), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Message(*stream), HasSubstr("not read"));
}

TEST_F(SessionTimeTest, AHangingWriteIsTornDownAlsoWhenTheJobEndedForAnotherReason) {
  auto stream = OpenIn(SessionState::kSending);
  ASSERT_TRUE(stream->Take());
  stream->session()->Stop(absl::UnavailableError("bye"), 0);
  Pass(*stream->session(), absl::Seconds(61));
  EXPECT_EQ(stream->aborts(), 1);
  stream->Acknowledge(false);
  EXPECT_EQ(Code(*stream), absl::StatusCode::kUnavailable);
}

TEST_F(SessionTimeTest, WaitingTooLongForMemoryEndsTheCallWithPushback) {
  auto stream = OpenIn(SessionState::kQueued);
  streams_[0]->session()->OnFrame(Chunk(0, kInput));
  streams_[0]->session()->OnFrame(wire::EndFrame{});
  RunIngest();  // the holder runs, and runs
  clock_.Advance(admission_options_.max_queue_wait + absl::Seconds(1));
  registry_->Tick();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(stream->finished()[0].pushback_ms.value_or(0), 0);
}

std::vector<wire::ProgressFrame> Progress(std::vector<wire::ResponseFrame> frames) {
  std::vector<wire::ProgressFrame> progress;
  for (const auto& frame : frames) {
    if (const auto* p = std::get_if<wire::ProgressFrame>(&frame)) progress.push_back(*p);
  }
  return progress;
}

TEST_F(SessionTimeTest, ProgressIsThrottledWhenThingsChange) {
  auto stream = OpenIn(SessionState::kRunning);
  stream->TakeFrames();
  plan_->run = [&](const RunContext& context) -> absl::StatusOr<JobResult> {
    for (int i = 1; i <= 100; ++i) {
      context.progress->OnProgress(Phase::kSolving, i / 100.0);
      Pass(*stream->session(), absl::Milliseconds(100));
    }
    return quantd::testing::ResultOf(10);
  };
  RunAll();
  const auto progress = Progress(stream->TakeFrames());
  EXPECT_GE(progress.size(), 18u);
  EXPECT_LE(progress.size(), 21u);
  for (size_t i = 1; i < progress.size(); ++i) {
    EXPECT_EQ(progress[i].phase, Phase::kSolving);
    EXPECT_GT(progress[i].fraction, progress[i - 1].fraction);
    EXPECT_LT(progress[i].eta_seconds, progress[i - 1].eta_seconds);
  }
  EXPECT_NEAR(progress[0].eta_seconds, 10, 1);
}

TEST_F(SessionTimeTest, ASignOfLifeComesAtLeastEveryTwentySeconds) {
  for (SessionState state : {SessionState::kQueued, SessionState::kRunning}) {
    auto stream = OpenIn(state);
    Pass(*stream->session(), absl::Seconds(1));
    stream->TakeFrames();
    int frames = 0;
    for (int quarter = 0; quarter < 4 * 60; ++quarter) {
      Pass(*stream->session(), absl::Milliseconds(250));
      frames += static_cast<int>(Progress(stream->TakeFrames()).size());
      EXPECT_GE(frames, quarter / 4 / 20);
    }
    EXPECT_LE(frames, 5) << SessionStateName(state);
    for (const auto& s : streams_) s->session()->OnCancel();
    RunAll();
  }
}

TEST_F(SessionTimeTest, AReaderThatStallsFindsTheNewestProgressOnly) {
  auto stream = Open(Reader::kStalls);
  Upload(*stream);
  RunIngest();
  plan_->run = [&](const RunContext& context) -> absl::StatusOr<JobResult> {
    for (int i = 1; i <= 10; ++i) {
      context.progress->OnProgress(Phase::kSolving, i / 10.0);
      Pass(*stream->session(), absl::Seconds(1));
    }
    EXPECT_TRUE(stream->Take());
    stream->Acknowledge();
    EXPECT_TRUE(stream->Take());
    stream->Acknowledge();
    EXPECT_FALSE(stream->Take());
    return absl::InvalidArgumentError("enough");
  };
  RunAll();
  const auto frames = stream->TakeFrames();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<wire::AcceptedFrame>(frames[0]));
  EXPECT_FLOAT_EQ(std::get<wire::ProgressFrame>(frames[1]).fraction, 1.0);
}

}  // namespace
}  // namespace quantd
