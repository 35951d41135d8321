// States of a job that solves for long: how often they are asked for, what a slow reader gets, when
// they go.
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/unit/server/session/session_fixture.h"

namespace quantd {
namespace {

using ::quantd::testing::Chunk;
using ::quantd::testing::HeaderFrame;
using ::quantd::testing::ResultOf;
using ::testing::ElementsAre;

class SessionStateTest : public SessionFixture {
 protected:
  using Work = std::function<void(const RunContext&)>;

  SessionStateTest() {
    options_.chunk_bytes = 10;
    Make();
  }

  // Runs a job that asks for states every `seconds`, with `work` in place of its solver.
  std::shared_ptr<FakeStream> Run(int seconds, Reader reader, const Work& work) {
    auto stream = Open(reader);
    stream_ = stream.get();
    QuantizeJob header = HeaderFrame();
    header.checkpoint_seconds = seconds;
    stream->session()->OnFrame(std::move(header));
    stream->session()->OnFrame(Chunk(0, kInput));
    stream->session()->OnFrame(wire::EndFrame{});
    plan_->run = [&work](const RunContext& context) -> absl::StatusOr<JobResult> {
      work(context);
      return ResultOf(10);
    };
    RunAll();
    return stream;
  }

  void Pass(absl::Duration by) {
    clock_.Advance(by);
    stream_->session()->Tick();
  }
  // Reads `count` responses; false when there were fewer.
  bool ReadSome(int count) {
    for (int i = 0; i < count; ++i) {
      if (!stream_->Take()) return false;
      stream_->Acknowledge();
    }
    return true;
  }

  // Whole states among the frames, each put together from its pieces; a broken off one is left out.
  static std::vector<std::string> States(const std::vector<wire::ResponseFrame>& frames) {
    std::vector<std::string> states;
    std::string open;
    for (const wire::ResponseFrame& frame : frames) {
      const auto* piece = std::get_if<wire::JobStateFrame>(&frame);
      if (piece == nullptr) continue;
      if (piece->offset == 0) open.clear();
      EXPECT_EQ(piece->offset, open.size());
      open += piece->data;
      if (open.size() == piece->total_bytes) states.push_back(open);
    }
    return states;
  }

  FakeStream* stream_ = nullptr;
};

TEST_F(SessionStateTest, StatesAreDueAtTheAskedPace) {
  std::vector<int> due_at;
  auto stream = Run(60, Reader::kEager, [&](const RunContext& context) {
    ASSERT_NE(context.states, nullptr);
    for (int second = 1; second <= 200; ++second) {
      Pass(absl::Seconds(1));
      if (!context.states->Due()) continue;
      due_at.push_back(second);
      context.states->Save("state of second " + std::to_string(second));
      EXPECT_FALSE(context.states->Due());
    }
  });
  EXPECT_THAT(due_at, ElementsAre(60, 120, 180));
  EXPECT_THAT(States(stream->TakeFrames()),
              ElementsAre("state of second 60", "state of second 120", "state of second 180"));
  EXPECT_EQ(Code(*stream), absl::StatusCode::kOk);
}

TEST_F(SessionStateTest, ThePaceCountsFromTheLastState) {
  Run(60, Reader::kEager, [&](const RunContext& context) {
    Pass(absl::Seconds(100));
    EXPECT_TRUE(context.states->Due());
    context.states->Save("late");
    Pass(absl::Seconds(59));
    EXPECT_FALSE(context.states->Due());
    Pass(absl::Seconds(1));
    EXPECT_TRUE(context.states->Due());
  });
}

TEST_F(SessionStateTest, NobodyIsAskedWhereNoneAreWanted) {
  auto stream = Run(0, Reader::kEager, [&](const RunContext& context) {
    Pass(absl::Hours(1));
    EXPECT_EQ(context.states, nullptr);
  });
  EXPECT_EQ(Code(*stream), absl::StatusCode::kOk);
}

TEST_F(SessionStateTest, AReaderThatStallsFindsTheNewestStateOnly) {
  auto stream = Run(1, Reader::kStalls, [&](const RunContext& context) {
    for (int i = 1; i <= 5; ++i) {
      Pass(absl::Seconds(1));
      EXPECT_TRUE(context.states->Due());
      context.states->Save("the newest is state number " + std::to_string(i));
    }
    ASSERT_TRUE(ReadSome(5));  // accepted, progress, three pieces
    EXPECT_FALSE(stream_->Take());
  });
  EXPECT_THAT(States(stream->TakeFrames()), ElementsAre("the newest is state number 5"));
}

TEST_F(SessionStateTest, AStateHalfSentHoldsTheNextOneBackAndIsFinished) {
  auto stream = Run(1, Reader::kStalls, [&](const RunContext& context) {
    Pass(absl::Seconds(1));
    context.states->Save("the first state, long");
    ASSERT_TRUE(ReadSome(3));  // accepted, progress, a piece
    Pass(absl::Seconds(10));
    EXPECT_FALSE(context.states->Due());
    // Made while the first piece went out.
    context.states->Save("the second");
    context.states->Save("the third one");
    ASSERT_TRUE(ReadSome(2));
    EXPECT_FALSE(context.states->Due());  // the third one is young
    Pass(absl::Seconds(1));
    EXPECT_TRUE(context.states->Due());
    ASSERT_TRUE(ReadSome(2));
  });
  EXPECT_THAT(States(stream->TakeFrames()), ElementsAre("the first state, long", "the third one"));
}

TEST_F(SessionStateTest, ProgressGoesBetweenThePieces) {
  auto stream = Run(1, Reader::kStalls, [&](const RunContext& context) {
    Pass(absl::Seconds(1));
    context.states->Save(std::string(100, 's'));
    ASSERT_TRUE(ReadSome(2));
    for (int i = 1; i <= 5; ++i) {
      ASSERT_TRUE(ReadSome(2));
      context.progress->OnProgress(Phase::kSolving, i / 10.0);
      Pass(absl::Seconds(1));
      ASSERT_TRUE(ReadSome(1));
    }
  });
  const auto frames = stream->TakeFrames();
  ASSERT_EQ(frames.size(), 2u + 15u);
  for (size_t i = 4; i < frames.size(); i += 3) {
    EXPECT_TRUE(std::holds_alternative<wire::ProgressFrame>(frames[i])) << i;
  }
  EXPECT_THAT(States(frames), ElementsAre(std::string(100, 's')));
}

TEST_F(SessionStateTest, WhenResultsAreReadyStatesAreDropped) {
  auto stream = Run(1, Reader::kStalls, [&](const RunContext& context) {
    Pass(absl::Seconds(1));
    context.states->Save("half of this one is sent");
    ASSERT_TRUE(ReadSome(3));
    context.states->Save("this one waits");
  });
  stream->TakeFrames();
  while (stream->finished().empty()) {
    ASSERT_TRUE(ReadSome(1));
    RunAll();
  }
  for (const wire::ResponseFrame& frame : stream->TakeFrames()) {
    EXPECT_FALSE(std::holds_alternative<wire::JobStateFrame>(frame));
  }
  EXPECT_EQ(Code(*stream), absl::StatusCode::kOk);
}

TEST_F(SessionStateTest, ACancelFreesThemAndNoMoreAreTaken) {
  auto stream = Run(1, Reader::kStalls, [&](const RunContext& context) {
    Pass(absl::Seconds(1));
    context.states->Save("half of this one is sent");
    ASSERT_TRUE(ReadSome(3));
    stream_->session()->OnCancel();
    clock_.Advance(absl::Hours(1));
    EXPECT_FALSE(context.states->Due());
    context.states->Save("nobody reads this");
    EXPECT_FALSE(stream_->Take());
  });
  EXPECT_EQ(Code(*stream), absl::StatusCode::kCancelled);
  EXPECT_THAT(stream->TakeFrames(), ::testing::SizeIs(3));
}

TEST_F(SessionStateTest, ProgressCarriesTheLastRound) {
  auto stream = Run(0, Reader::kEager, [&](const RunContext& context) {
    context.progress->OnProgress(Phase::kSolving, 0.25);
    Pass(absl::Seconds(1));
    // A new round is news, also where the fraction stands still.
    context.progress->OnRound(0, 1, 0.5);
    Pass(absl::Seconds(1));
    context.progress->OnRound(2, 1, 0.25);
    Pass(absl::Seconds(1));
    context.progress->OnRound(2, 2, std::numeric_limits<double>::quiet_NaN());
    Pass(absl::Seconds(1));
  });
  std::vector<std::string> rounds;
  for (const wire::ResponseFrame& frame : stream->TakeFrames()) {
    const auto* progress = std::get_if<wire::ProgressFrame>(&frame);
    if (progress == nullptr) continue;
    rounds.push_back(progress->round
                         ? absl::StrCat(progress->round->weight, ":", progress->round->round, ":",
                                        progress->round->relative_loss)
                         : "none");
  }
  EXPECT_THAT(rounds, ElementsAre("none", "0:1:0.5", "2:1:0.25"));
}

TEST_F(SessionStateTest, TheTimeLeftOfALongJobFollowsItsOwnPace) {
  plan_->cost.seconds = 600;
  Make();
  // Twice as slow as predicted, and taken up from 0.4: 720 s are left.
  std::vector<double> errors;
  auto stream = Run(0, Reader::kEager, [&](const RunContext& context) {
    for (int second = 0; second <= 720; second += 20) {
      context.progress->OnProgress(Phase::kSolving, 0.4 + 0.6 * second / 720);
      Pass(absl::Seconds(second == 0 ? 1 : 20));
    }
  });
  double at = -19;
  for (const wire::ResponseFrame& frame : stream->TakeFrames()) {
    const auto* progress = std::get_if<wire::ProgressFrame>(&frame);
    if (progress == nullptr) continue;
    at += 20;
    const double left = 720 * (1 - progress->fraction) / 0.6;
    if (progress->fraction < 0.405) {
      EXPECT_NEAR(progress->eta_seconds, 360, 10);  // the prediction
    } else if (progress->fraction > 0.6) {
      EXPECT_NEAR(progress->eta_seconds, left, 0.1 * left + 2) << at;
    }
  }
  EXPECT_GT(at, 600);
}

}  // namespace
}  // namespace quantd
