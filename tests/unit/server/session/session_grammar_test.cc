// Frames that come when they must not.
#include <string>

#include "tests/unit/server/session/session_fixture.h"

namespace quantd {
namespace {

using ::quantd::testing::Chunk;
using ::quantd::testing::HeaderFrame;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SessionGrammarTest : public SessionFixture {};

TEST_F(SessionGrammarTest, TheFirstFrameMustBeAHeader) {
  auto chunk = Open();
  EXPECT_FALSE(chunk->session()->OnFrame(Chunk(0, 1)));
  EXPECT_EQ(Code(*chunk), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(*chunk), HasSubstr("must be a header"));
  auto end = Open();
  EXPECT_FALSE(end->session()->OnFrame(wire::EndFrame{}));
  EXPECT_EQ(Code(*end), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(events_.rejects().size(), 2u);
  EXPECT_THAT(events_.jobs(), IsEmpty());
}

TEST_F(SessionGrammarTest, AFrameThatCannotBeParsedFailsTheCallWithItsStatus) {
  auto stream = Open();
  EXPECT_FALSE(stream->session()->OnFrame(absl::InvalidArgumentError("layout: 99 is unknown")));
  EXPECT_EQ(Message(*stream), "layout: 99 is unknown");
  EXPECT_THAT(events_.rejects(), ElementsAre(std::pair(RejectReason::kInvalid, "")));

  auto later = OpenIn(SessionState::kUploading);
  EXPECT_FALSE(later->session()->OnFrame(absl::InvalidArgumentError("no frame")));
  EXPECT_EQ(Message(*later), "no frame");
  EXPECT_EQ(events_.rejects().size(), 1u);
  EXPECT_EQ(events_.jobs().size(), 1u);
}

TEST_F(SessionGrammarTest, ASecondHeaderIsRefused) {
  auto stream = OpenIn(SessionState::kUploading);
  EXPECT_FALSE(stream->session()->OnFrame(HeaderFrame("again")));
  EXPECT_EQ(Code(*stream), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(*stream), HasSubstr("second header"));
}

TEST_F(SessionGrammarTest, NothingMayFollowEnd) {
  for (int kind = 0; kind < 3; ++kind) {
    auto stream = OpenIn(SessionState::kRunning);
    if (kind == 0) stream->session()->OnFrame(Chunk(0, 1));
    if (kind == 1) stream->session()->OnFrame(wire::EndFrame{});
    if (kind == 2) stream->session()->OnFrame(HeaderFrame());
    EXPECT_EQ(Code(*stream), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(*stream), HasSubstr("End"));
    RunAll();
    EXPECT_EQ(plan_->runs, 0);
  }
}

TEST_F(SessionGrammarTest, HalfCloseWithoutEndFails) {
  auto nothing = Open();
  nothing->session()->OnHalfClose();
  EXPECT_EQ(Code(*nothing), absl::StatusCode::kInvalidArgument);
  for (SessionState state :
       {SessionState::kAdmitting, SessionState::kQueued, SessionState::kUploading}) {
    auto stream = OpenIn(state);
    stream->session()->OnHalfClose();
    EXPECT_EQ(Code(*stream), absl::StatusCode::kInvalidArgument) << SessionStateName(state);
    EXPECT_THAT(Message(*stream), HasSubstr("before End"));
    for (const auto& s : streams_) s->session()->OnCancel();  // the queue's holder
    RunAll();
  }
}

TEST_F(SessionGrammarTest, InputsAfterTheEndDoNothing) {
  auto stream = OpenIn(SessionState::kUploading);
  Session& session = *stream->session();
  session.OnCancel();
  RunAll();
  EXPECT_FALSE(session.OnFrame(HeaderFrame()));
  EXPECT_FALSE(session.OnFrame(Chunk(0, 1)));
  EXPECT_FALSE(session.OnFrame(absl::InternalError("x")));
  session.OnHalfClose();
  session.OnCancel();
  session.OnWriteDone(true);
  session.Stop(absl::UnavailableError("x"), 0);
  session.Tick();
  EXPECT_FALSE(session.NextResponse().has_value());
  EXPECT_EQ(stream->finished().size(), 1u);
  EXPECT_EQ(Code(*stream), absl::StatusCode::kCancelled);
  EXPECT_EQ(events_.jobs().size(), 1u);
}

}  // namespace
}  // namespace quantd
