// A job that goes well, and the ways in which the work itself fails.
#include "server/session/session.h"

#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/unit/server/session/session_fixture.h"

namespace quantd {
namespace {

using ::quantd::testing::Chunk;
using ::quantd::testing::HeaderFrame;
using ::quantd::testing::LettersOf;
using ::quantd::testing::ResultOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SessionTest : public SessionFixture {};

TEST_F(SessionTest, DeliversAJobInTheStreamsOrder) {
  options_.chunk_bytes = 40;
  Make();
  plan_->run = [](const RunContext&) { return ResultOf(100, 2); };
  CallInfo info;
  info.peer = "ipv4:test";
  info.trace_parent = "00-trace";
  auto stream = Open(Reader::kEager, info);
  Upload(*stream, "job-9", /*priority=*/3);
  RunIngest();
  EXPECT_EQ(stream->session()->state(), SessionState::kRunning);
  EXPECT_EQ(compute_.last_priority(), 3);
  EXPECT_EQ(plan_->written, kInput);
  clock_.Advance(absl::Seconds(4));
  RunAll();

  const auto frames = stream->TakeFrames();
  ASSERT_EQ(LettersOf(frames), "ATcccRTcccRF");
  const auto& accepted = std::get<wire::AcceptedFrame>(frames[0]);
  EXPECT_EQ(accepted.job_id, "job-9");
  EXPECT_EQ(accepted.predicted_peak_bytes, kPeak);
  EXPECT_EQ(accepted.predicted_seconds, 10);
  EXPECT_EQ(accepted.queue_position, 0u);
  EXPECT_EQ(accepted.spec.method, "rtn");
  std::string bytes;
  for (const auto& frame : frames) {
    if (const auto* chunk = std::get_if<wire::ChunkFrame>(&frame)) {
      if (chunk->tensor == 1) {
        EXPECT_EQ(chunk->offset, bytes.size());
        bytes += chunk->data;
      }
    }
  }
  ASSERT_EQ(bytes.size(), 100u);
  EXPECT_EQ(bytes[99], 99);
  const auto& tensor = std::get<wire::ResultTensorFrame>(frames[6]);
  EXPECT_EQ(tensor.index, 1u);
  EXPECT_EQ(tensor.weight, 1u);
  EXPECT_EQ(tensor.decl.name, "w1_packed");
  EXPECT_EQ(tensor.decl.role, Role::kPacked);
  EXPECT_TRUE(tensor.decl.digest.has_value());
  const auto& final = std::get<wire::FinalFrame>(frames.back());
  EXPECT_EQ(final.outcome, Outcome::kOk);
  EXPECT_EQ(final.build_id, "build-7");
  EXPECT_EQ(final.report.predicted_peak_bytes, kPeak);
  EXPECT_EQ(final.report.seconds.queue, 4);
  EXPECT_EQ(final.report.seconds.total, 4);

  EXPECT_EQ(Code(*stream), absl::StatusCode::kOk);
  EXPECT_EQ(stream->finished().size(), 1u);
  const auto jobs = events_.jobs();
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].job_id, "job-9");
  EXPECT_EQ(jobs[0].rpc, "Quantize");
  EXPECT_EQ(jobs[0].method, "rtn");
  EXPECT_EQ(jobs[0].layout, "gptq");
  EXPECT_EQ(jobs[0].peer, "ipv4:test");
  EXPECT_EQ(jobs[0].trace_parent, "00-trace");
  EXPECT_TRUE(jobs[0].status.ok());
  EXPECT_EQ(jobs[0].outcome, Outcome::kOk);
  EXPECT_EQ(jobs[0].bytes_in, kInput);
  EXPECT_EQ(jobs[0].bytes_out, 200u);
  EXPECT_EQ(jobs[0].weights, 77u);
  EXPECT_EQ(jobs[0].report.tensors.size(), 2u);
  EXPECT_THAT(events_.rejects(), IsEmpty());
}

TEST_F(SessionTest, DequantizeDeliversWeights) {
  auto stream = Open();
  DequantizeJob header;
  header.id = "d";
  header.layout = "plain";
  stream->session()->OnFrame(header);
  stream->session()->OnFrame(Chunk(0, kInput));
  stream->session()->OnFrame(wire::EndFrame{});
  plan_->run = [](const RunContext&) {
    JobResult result = ResultOf(10);
    result.report.tensors.clear();
    return result;
  };
  RunAll();
  const auto frames = stream->TakeFrames();
  ASSERT_EQ(LettersOf(frames), "ATcF");
  EXPECT_EQ(std::get<wire::ResultTensorFrame>(frames[1]).decl.role, Role::kWeight);
  EXPECT_EQ(std::get<wire::FinalFrame>(frames[3]).outcome, Outcome::kOk);
  ASSERT_EQ(events_.jobs().size(), 1u);
  EXPECT_EQ(events_.jobs()[0].rpc, "Dequantize");
  EXPECT_EQ(events_.jobs()[0].layout, "plain");
}

TEST_F(SessionTest, MemoryIsHeldUntilTheResultIsWrittenAndInputsOnlyForTheRun) {
  auto stream = OpenIn(SessionState::kSending);
  EXPECT_EQ(plan_->live, 0);
  EXPECT_EQ(admission_->reserved_bytes(), kPeak);
  stream->SetReader(Reader::kEager);
  ASSERT_TRUE(stream->Take());
  stream->Acknowledge();
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kOk);
  EXPECT_EQ(stream->finished().size(), 1u);
  EXPECT_EQ(admission_->reserved_bytes(), 0u);
}

TEST_F(SessionTest, AnInvalidHeaderIsRefusedAndToldWithItsReason) {
  plan_->create = absl::InvalidArgumentError("spec.levels.bits: 9 is not in 2..8");
  auto stream = Open();
  stream->session()->OnFrame(HeaderFrame());
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Message(*stream), "spec.levels.bits: 9 is not in 2..8");
  EXPECT_THAT(events_.rejects(), ElementsAre(std::pair(RejectReason::kInvalid, "rtn")));
  ASSERT_EQ(events_.jobs().size(), 1u);
  EXPECT_EQ(events_.jobs()[0].status.message(), "spec.levels.bits: 9 is not in 2..8");
  EXPECT_TRUE(events_.jobs()[0].refused);
  EXPECT_THAT(stream->TakeFrames(), IsEmpty());
}

TEST_F(SessionTest, AJobThatNeverFitsIsRefusedWithPushbackBeforeAnyMemory) {
  plan_->cost.peak_bytes = kBudget + 1;
  auto stream = Open();
  stream->session()->OnFrame(HeaderFrame());
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(stream->finished()[0].pushback_ms, -1);
  EXPECT_EQ(plan_->begins, 0);
  EXPECT_THAT(events_.rejects(), ElementsAre(std::pair(RejectReason::kNeverFits, "rtn")));
  ASSERT_EQ(events_.jobs().size(), 1u);
  EXPECT_EQ(events_.jobs()[0].status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(events_.jobs()[0].refused);
}

TEST_F(SessionTest, AQueuedJobStartsWhenMemoryComesBack) {
  auto first = Open();
  Upload(*first, "first");
  RunIngest();
  auto second = Open();
  Upload(*second, "second");
  RunIngest();
  EXPECT_EQ(second->session()->state(), SessionState::kQueued);
  EXPECT_EQ(plan_->begins, 1);
  RunAll();
  EXPECT_EQ(Code(*first), absl::StatusCode::kOk);
  EXPECT_EQ(Code(*second), absl::StatusCode::kOk);
  const auto frames = second->TakeFrames();
  ASSERT_EQ(LettersOf(frames), "ATcRF");
  EXPECT_EQ(std::get<wire::AcceptedFrame>(frames[0]).queue_position, 1u);
}

TEST_F(SessionTest, ADamagedChunkFailsTheJob) {
  auto stream = OpenIn(SessionState::kUploading);
  wire::ChunkFrame chunk = Chunk(0, kInput);
  chunk.data[5] ^= 1;
  stream->session()->OnFrame(chunk);
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kDataLoss);
  EXPECT_EQ(plan_->written, 0u);
  ASSERT_EQ(events_.jobs().size(), 1u);
}

TEST_F(SessionTest, EndBeforeAllBytesNamesTheTensor) {
  auto stream = OpenIn(SessionState::kUploading);
  stream->session()->OnFrame(Chunk(0, kInput - 1));
  stream->session()->OnFrame(wire::EndFrame{});
  RunAll();
  EXPECT_EQ(Code(*stream), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(*stream), HasSubstr("w"));
  EXPECT_EQ(plan_->runs, 0);
}

TEST_F(SessionTest, ErrorsOfBeginWriteAndRunAreTheCallsStatus) {
  plan_->begin = absl::ResourceExhaustedError("begin");
  auto a = Open();
  Upload(*a);
  RunAll();
  EXPECT_EQ(Message(*a), "begin");

  plan_->begin = absl::OkStatus();
  plan_->write = absl::InvalidArgumentError("write");
  auto b = Open();
  Upload(*b);
  RunAll();
  EXPECT_THAT(Message(*b), HasSubstr("write"));

  plan_->write = absl::OkStatus();
  plan_->run = [](const RunContext&) { return absl::InvalidArgumentError("run"); };
  auto c = Open();
  Upload(*c);
  RunAll();
  EXPECT_EQ(Message(*c), "run");
  EXPECT_EQ(LettersOf(c->TakeFrames()), "A");
  EXPECT_EQ(events_.jobs().size(), 3u);
}

TEST_F(SessionTest, ExceptionsOfTheWorkEndTheJobAlone) {
  plan_->run = [](const RunContext&) -> absl::StatusOr<JobResult> { throw std::bad_alloc(); };
  auto memory = Open();
  Upload(*memory);
  RunAll();
  EXPECT_EQ(Code(*memory), absl::StatusCode::kResourceExhausted);

  plan_->run = [](const RunContext&) -> absl::StatusOr<JobResult> {
    throw std::runtime_error("boom");
  };
  auto boom = Open();
  Upload(*boom);
  RunAll();
  EXPECT_EQ(Code(*boom), absl::StatusCode::kInternal);
  EXPECT_THAT(Message(*boom), HasSubstr("boom"));

  plan_->run = nullptr;
  auto fine = Open();
  Upload(*fine);
  RunAll();
  EXPECT_EQ(Code(*fine), absl::StatusCode::kOk);
  EXPECT_EQ(LettersOf(fine->TakeFrames()), "ATcRF");
}

}  // namespace
}  // namespace quantd
