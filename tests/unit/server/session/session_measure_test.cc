// A Measure call through the session: the upload of a Quantize call, reports and no bytes.
#include <string>
#include <vector>

#include "tests/unit/server/session/session_fixture.h"

namespace quantd {
namespace {

using ::quantd::testing::Chunk;
using ::quantd::testing::HeaderFrame;
using ::quantd::testing::LettersOf;
using ::quantd::testing::MeasuredOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SessionMeasureTest : public SessionFixture {
 protected:
  SessionMeasureTest() {
    plan_->method = "measure";
    plan_->run = [](const RunContext&) { return MeasuredOf(2, 3); };
  }

  static MeasureJob Header(const std::string& id = "frontier") {
    MeasureJob header;
    header.id = id;
    header.layout = "plain";
    header.priority = 4;
    header.candidates.resize(3);
    return header;
  }

  static void UploadTo(FakeStream& stream) {
    stream.session()->OnFrame(Header());
    stream.session()->OnFrame(Chunk(0, kInput));
    stream.session()->OnFrame(wire::EndFrame{});
    stream.session()->OnHalfClose();
  }
};

TEST_F(SessionMeasureTest, ReportsEveryCandidateWeightByWeight) {
  auto stream = Open();
  UploadTo(*stream);
  RunIngest();
  EXPECT_EQ(compute_.last_priority(), 4);
  RunAll();
  const auto frames = stream->TakeFrames();
  ASSERT_EQ(LettersOf(frames), "AMMMMMMF");
  const auto& accepted = std::get<wire::AcceptedFrame>(frames[0]);
  EXPECT_EQ(accepted.job_id, "frontier");
  EXPECT_EQ(accepted.predicted_peak_bytes, kPeak);
  for (int i = 0; i < 6; ++i) {
    const auto& of = std::get<wire::CandidateReportFrame>(frames[1 + i]).report;
    EXPECT_EQ(of.candidate, i % 3);
    EXPECT_EQ(of.report.name, i < 3 ? "w0" : "w1");
  }
  const auto& final = std::get<wire::FinalFrame>(frames.back());
  EXPECT_EQ(final.outcome, Outcome::kOk);
  EXPECT_TRUE(final.report.tensors.empty());
  EXPECT_EQ(final.report.predicted_peak_bytes, kPeak);
  EXPECT_EQ(final.build_id, "build-7");
  EXPECT_EQ(Code(*stream), absl::StatusCode::kOk);
  EXPECT_EQ(stream->finished().size(), 1u);
}

TEST_F(SessionMeasureTest, TheSinkHearsOfAMeasureCall) {
  auto stream = Open();
  UploadTo(*stream);
  RunAll();
  const auto jobs = events_.jobs();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].job_id, "frontier");
  EXPECT_EQ(jobs[0].rpc, "Measure");
  EXPECT_EQ(jobs[0].method, "measure");
  EXPECT_EQ(jobs[0].layout, "plain");
  EXPECT_TRUE(jobs[0].status.ok());
  EXPECT_EQ(jobs[0].outcome, Outcome::kOk);
  EXPECT_EQ(jobs[0].bytes_in, kInput);
  EXPECT_EQ(jobs[0].bytes_out, 0u);
}

TEST_F(SessionMeasureTest, ARefusedHeaderIsToldAsMeasure) {
  plan_->create = absl::FailedPreconditionError("candidates[1]: method gptq needs a HESSIAN");
  auto stream = Open();
  stream->session()->OnFrame(Header());
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Message(*stream), "candidates[1]: method gptq needs a HESSIAN");
  EXPECT_THAT(stream->TakeFrames(), IsEmpty());
  EXPECT_THAT(events_.rejects(), ElementsAre(std::pair(RejectReason::kInvalid, "measure")));
  ASSERT_EQ(events_.jobs().size(), 1u);
  EXPECT_EQ(events_.jobs()[0].rpc, "Measure");
  EXPECT_EQ(events_.jobs()[0].job_id, "frontier");
}

TEST_F(SessionMeasureTest, TheEngineGetsTheHeaderAsItCame) {
  std::string id;
  size_t candidates = 0;
  plan_->on_header = [&](const JobHeader& header) {
    ASSERT_TRUE(std::holds_alternative<MeasureJob>(header));
    id = std::get<MeasureJob>(header).id;
    candidates = std::get<MeasureJob>(header).candidates.size();
  };
  auto stream = Open();
  UploadTo(*stream);
  RunAll();
  EXPECT_EQ(id, "frontier");
  EXPECT_EQ(candidates, 3u);
}

TEST_F(SessionMeasureTest, ASecondHeaderOfAnyKindIsRefused) {
  DequantizeJob dequantize;
  dequantize.id = "again";
  const std::vector<wire::RequestFrame> second = {Header("again"), HeaderFrame("again"),
                                                  dequantize};
  for (const wire::RequestFrame& frame : second) {
    auto stream = Open();
    stream->session()->OnFrame(Header());
    RunIngest();
    ASSERT_EQ(stream->session()->state(), SessionState::kUploading);
    EXPECT_FALSE(stream->session()->OnFrame(frame));
    EXPECT_EQ(Code(*stream), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(*stream), HasSubstr("second header"));
    EXPECT_EQ(events_.jobs().back().rpc, "Measure");
    RunAll();
  }
}

TEST_F(SessionMeasureTest, AMeasureHeaderCannotFollowAnother) {
  auto stream = OpenIn(SessionState::kUploading);
  EXPECT_FALSE(stream->session()->OnFrame(Header()));
  EXPECT_THAT(Message(*stream), HasSubstr("second header"));
  ASSERT_EQ(events_.jobs().size(), 1u);
  EXPECT_EQ(events_.jobs()[0].rpc, "Quantize");
}

TEST_F(SessionMeasureTest, WithoutItsBytesItIsNotRun) {
  auto stream = Open();
  stream->session()->OnFrame(Header());
  stream->session()->OnFrame(Chunk(0, kInput - 1));
  stream->session()->OnFrame(wire::EndFrame{});
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(plan_->runs, 0);
}

TEST_F(SessionMeasureTest, CancellingWhileReportsWaitEndsItOnce) {
  auto stream = Open(Reader::kStalls);
  UploadTo(*stream);
  RunAll();
  ASSERT_EQ(stream->session()->state(), SessionState::kSending);
  stream->session()->OnCancel();
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kCancelled);
  ASSERT_EQ(events_.jobs().size(), 1u);
  EXPECT_EQ(events_.jobs()[0].rpc, "Measure");
  EXPECT_EQ(admission_->reserved_bytes(), 0u);
}

// Reports are small and many: the outbox counts them like any other frame.
TEST_F(SessionMeasureTest, AReaderThatNeverPullsFindsABoundedOutbox) {
  options_.outbox_bytes = 640;
  Make();
  plan_->run = [](const RunContext&) { return MeasuredOf(10, 100); };
  auto stream = Open(Reader::kStalls);
  UploadTo(*stream);
  RunAll();
  EXPECT_EQ(ingest_.waiting(), 0u);
  int frames = 0;
  for (; stream->Take(); ++frames) stream->Acknowledge();
  EXPECT_GE(frames, 2);
  EXPECT_LE(frames, 12);
  RunIngest();
  while (stream->finished().empty()) {
    ASSERT_TRUE(stream->Take());
    ++frames;
    stream->Acknowledge();
    RunIngest();
  }
  EXPECT_EQ(frames, 1 + 1000 + 1);
  EXPECT_EQ(Code(*stream), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace quantd
