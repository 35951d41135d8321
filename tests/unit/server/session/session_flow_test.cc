// Bounds: a fast sender and a slow reader cost a bounded amount of memory and no thread.
#include <string>

#include "tests/unit/server/session/session_fixture.h"

namespace quantd {
namespace {

using ::quantd::testing::Chunk;
using ::quantd::testing::HeaderFrame;
using ::quantd::testing::ResultOf;
using ::testing::IsEmpty;

class SessionFlowTest : public SessionFixture {
 protected:
  SessionFlowTest() {
    // Every chunk costs 64 bytes beside its own.
    options_.inbox_bytes = 4 * (100 + 64);
    options_.outbox_bytes = 4 * (100 + 64);
    options_.chunk_bytes = 100;
    Make();
  }
  // Room for many chunks; without it an upload is the fixture's kInput bytes.
  void MakeLargeUpload() {
    plan_ = quantd::testing::MakePlan(10'000, kPeak);
    Make();
  }
};

TEST_F(SessionFlowTest, ReadingStopsAtTheInboxMarkAndGoesOnOnce) {
  MakeLargeUpload();
  auto stream = OpenIn(SessionState::kUploading);
  Session& session = *stream->session();
  EXPECT_TRUE(session.OnFrame(Chunk(0, 100)));
  EXPECT_TRUE(session.OnFrame(Chunk(100, 100)));
  EXPECT_TRUE(session.OnFrame(Chunk(200, 100)));
  EXPECT_FALSE(session.OnFrame(Chunk(300, 100)));
  EXPECT_EQ(stream->resumes(), 0);
  EXPECT_EQ(ingest_.waiting(), 1u);  // one task, however many chunks
  RunIngest();
  EXPECT_EQ(stream->resumes(), 1);
  EXPECT_EQ(plan_->written, 400u);
  EXPECT_TRUE(session.OnFrame(Chunk(400, 100)));
  RunIngest();
  EXPECT_EQ(stream->resumes(), 1);
}

TEST_F(SessionFlowTest, AQueuedJobHoldsNoMoreThanItsInbox) {
  MakeLargeUpload();
  auto stream = OpenIn(SessionState::kQueued);
  Session& session = *stream->session();
  int sent = 0;
  while (session.OnFrame(Chunk(100 * sent, 100))) ++sent;
  EXPECT_EQ(sent, 3);
  RunIngest();
  EXPECT_EQ(stream->resumes(), 0);
  streams_[0]->session()->OnCancel();  // the holder of the memory
  RunIngest();
  EXPECT_EQ(stream->resumes(), 1);
  EXPECT_EQ(plan_->written, 400u);
}

TEST_F(SessionFlowTest, TinyChunksAreBoundedToo) {
  MakeLargeUpload();
  auto stream = OpenIn(SessionState::kUploading);
  int sent = 0;
  while (stream->session()->OnFrame(Chunk(sent, 1))) ++sent;
  EXPECT_EQ(sent, 10);
}

TEST_F(SessionFlowTest, AReaderThatNeverPullsParksTheJobWithABoundedOutbox) {
  plan_->run = [](const RunContext&) { return ResultOf(5000); };
  auto stream = OpenIn(SessionState::kSending);
  EXPECT_EQ(ingest_.waiting(), 0u);  // no task turns while nobody reads
  EXPECT_EQ(compute_.waiting(), 0u);
  EXPECT_EQ(stream->ready(), 1);

  // Reading one frame at a time, the filler wakes now and then, not each time.
  int frames = 0;
  int fills = 0;
  while (stream->finished().empty()) {
    ASSERT_TRUE(stream->Take());
    ++frames;
    stream->Acknowledge();
    fills += static_cast<int>(ingest_.waiting());
    RunIngest();
  }
  EXPECT_EQ(frames, 1 + 1 + 50 + 1 + 1);
  EXPECT_LT(fills, frames / 2);
  EXPECT_EQ(Code(*stream), absl::StatusCode::kOk);
}

TEST_F(SessionFlowTest, WhatWaitsInTheOutboxStaysWithinTheMark) {
  plan_->run = [](const RunContext&) { return ResultOf(5000); };
  auto stream = OpenIn(SessionState::kSending);
  // Only what was produced before the reader came can be read while the filler stands still.
  int ready = 0;
  while (stream->Take()) {
    stream->Acknowledge();
    ++ready;
  }
  EXPECT_GE(ready, 4);
  EXPECT_LE(ready, 1 + 1 + 5);
}

TEST_F(SessionFlowTest, OneWriteAtATime) {
  auto stream = OpenIn(SessionState::kSending);
  ASSERT_TRUE(stream->Take());
  EXPECT_FALSE(stream->Take());
  EXPECT_EQ(stream->ready(), 1);
  stream->Acknowledge();
  EXPECT_EQ(stream->ready(), 2);
}

TEST_F(SessionFlowTest, FinishComesOnlyAfterTheFinalFrameIsWritten) {
  auto stream = OpenIn(SessionState::kSending);
  std::vector<wire::ResponseFrame> frames;
  while (true) {
    ASSERT_TRUE(stream->Take());
    RunIngest();
    frames = stream->TakeFrames();
    if (std::holds_alternative<wire::FinalFrame>(frames.back())) break;
    stream->Acknowledge();
  }
  EXPECT_THAT(stream->finished(), IsEmpty());
  EXPECT_THAT(events_.jobs(), IsEmpty());
  stream->Acknowledge();
  ASSERT_EQ(stream->finished().size(), 1u);
  EXPECT_EQ(Code(*stream), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace quantd
