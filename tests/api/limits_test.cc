// Budget, queue, deadline and cancellation.
#include <ctime>
#include <thread>

#include "gmock/gmock.h"
#include "tests/api/api_fixture.h"

namespace quantd::testing {
namespace {

using ::testing::HasSubstr;

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

class LimitsTest : public ApiTest {
 protected:
  // A call that holds memory: its header is admitted and no bytes follow.
  struct Holder {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<Stream> stream;
    v1::Accepted accepted;
  };

  Holder Hold(const std::string& job_id, const Upload& upload) {
    Holder holder;
    holder.context = NewContext();
    holder.stream = stub().Quantize(holder.context.get());
    EXPECT_TRUE(holder.stream->Write(HeaderMessage(MakeHeader(job_id, {upload}))));
    v1::QuantizeResponse response;
    EXPECT_TRUE(holder.stream->Read(&response));
    holder.accepted = response.accepted();
    return holder;
  }

  static grpc::Status Cancel(Holder* holder) {
    holder->context->TryCancel();
    v1::QuantizeResponse response;
    while (holder->stream->Read(&response)) {
    }
    return holder->stream->Finish();
  }

  int64_t Cancelled() const {
    int64_t count = 0;
    for (const JobEvent& job : events_.jobs()) count += absl::IsCancelled(job.status);
    return count;
  }

  // One job cancelled: its memory is back and it was counted exactly once.
  void ExpectOneCancelled() {
    EXPECT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
    EXPECT_TRUE(Eventually([this] { return events_.reserved_bytes() == 0; }));
    EXPECT_EQ(Cancelled(), 1);
  }

  const Upload small_ = MakeWeight("w.weight", 16, 128, 2);
  const Upload large_ = MakeWeight("w.weight", 1024, 1024, 2);
};

TEST_F(LimitsTest, AJobAboveTheWholeBudgetIsRefusedForGood) {
  Start();
  const Upload upload = MakeWeight("w.weight", 1, 128, 1);
  v1::QuantizeHeader header = MakeHeader("giant", {upload});
  header.mutable_tensors(0)->set_shape(0, 1 << 20);
  const CallResult result = Send({HeaderMessage(header)});
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << result.status.error_message();
  EXPECT_THAT(result.status.error_message(), HasSubstr("budget"));
  EXPECT_LT(result.pushback_ms(), 0);
  EXPECT_EQ(result.trailers.count("grpc-retry-pushback-ms"), 1u);
}

TEST_F(LimitsTest, AFullQueueRefusesWithATimeToComeBack) {
  config_.options.max_queued_jobs = 1;
  Start();
  std::vector<Holder> holders;
  while (events_.waiting_jobs() == 0 && holders.size() < 50) {
    holders.push_back(Hold("holder", large_));
  }
  ASSERT_EQ(events_.waiting_jobs(), 1);
  EXPECT_EQ(holders.front().accepted.queue_position(), 0u);
  EXPECT_EQ(holders.back().accepted.queue_position(), 1u);
  const CallResult refused = Send({HeaderMessage(MakeHeader("one-too-many", {large_}))});
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << refused.status.error_message();
  EXPECT_GT(refused.pushback_ms(), 0);
  EXPECT_THAT(events_.rejects(),
              ::testing::Contains(::testing::Pair(RejectReason::kQueueJobs, ::testing::_)));
  for (Holder& holder : holders) Cancel(&holder);
}

TEST_F(LimitsTest, AQueuedJobRunsOnceMemoryIsFree) {
  Start();
  std::vector<Holder> holders;
  while (holders.empty() || holders.back().accepted.queue_position() == 0) {
    ASSERT_LT(holders.size(), 50u);
    holders.push_back(Hold("holder", large_));
  }
  Holder queued = std::move(holders.back());
  holders.pop_back();
  for (Holder& holder : holders) Cancel(&holder);
  for (uint64_t at = 0; at < large_.bytes.size(); at += 1 << 20) {
    ASSERT_TRUE(queued.stream->Write(ChunkMessage(0, at, large_.bytes.substr(at, 1 << 20))));
  }
  queued.stream->Write(EndMessage());
  queued.stream->WritesDone();
  const CallResult result = Drain(queued.stream.get(), queued.context.get());
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.finals.size(), 1u);
}

TEST_F(LimitsTest, AShortDeadlineEndsTheCallAndFreesItsMemory) {
  Start();
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(60)));
  const auto stream = stub().Quantize(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader("late", {small_}))));
  const CallResult result = Drain(stream.get(), &context);
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
  EXPECT_TRUE(Eventually([this] { return events_.reserved_bytes() == 0; }));
}

TEST_F(LimitsTest, ADeadlineInThePastNeverReachesTheWork) {
  Start();
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() - absl::Seconds(1)));
  const auto stream = stub().Quantize(&context);
  stream->Write(HeaderMessage(MakeHeader("past", {small_})));
  const CallResult result = Drain(stream.get(), &context);
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(events_.reserved_bytes(), 0u);
}

TEST_F(LimitsTest, ACallWithoutADeadlineGetsTheServersMaximum) {
  config_.options.max_job_time = absl::Milliseconds(300);
  Start();
  grpc::ClientContext context;
  const auto stream = stub().Quantize(&context);
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader("endless", {small_}))));
  const CallResult result = Drain(stream.get(), &context);
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED)
      << result.status.error_message();
}

TEST_F(LimitsTest, CancelBeforeTheHeader) {
  Start();
  const auto context = NewContext();
  const auto stream = stub().Quantize(context.get());
  ASSERT_TRUE(Eventually([this] { return server_->running_jobs() == 1; }));
  context->TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([this] { return server_->running_jobs() == 0; }));
}

TEST_F(LimitsTest, CancelWhileQueued) {
  Start();
  std::vector<Holder> holders;
  while (holders.empty() || holders.back().accepted.queue_position() == 0) {
    ASSERT_LT(holders.size(), 50u);
    holders.push_back(Hold("holder", large_));
  }
  EXPECT_EQ(Cancel(&holders.back()).error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([this] { return events_.waiting_jobs() == 0; }));
  EXPECT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
  EXPECT_EQ(Cancelled(), 1);
  holders.pop_back();
  for (Holder& holder : holders) Cancel(&holder);
}

TEST_F(LimitsTest, CancelWhileUploading) {
  Start();
  Holder holder = Hold("uploading", large_);
  EXPECT_GT(events_.reserved_bytes(), 0u);
  ASSERT_TRUE(holder.stream->Write(ChunkMessage(0, 0, large_.bytes.substr(0, 1 << 20))));
  EXPECT_EQ(Cancel(&holder).error_code(), grpc::StatusCode::CANCELLED);
  ExpectOneCancelled();
}

TEST_F(LimitsTest, CancelWhileTheKernelRuns) {
  config_.options.budget_bytes = uint64_t{512} << 20;
  Start();
  // A shrink search of 1000 steps with a norm that is not 2: many seconds of work if nobody stops
  // it.
  const Upload upload = MakeWeight("w.weight", 2048, 2048, 4);
  v1::QuantizeHeader header = MakeHeader("running", {upload});
  v1::Fit* fit = header.mutable_spec()->mutable_fit();
  fit->set_kind(v1::FIT_KIND_SHRINK_SEARCH);
  fit->set_norm(2.4);
  const auto context = NewContext();
  const auto stream = stub().Quantize(context.get());
  ASSERT_TRUE(stream->Write(HeaderMessage(header)));
  for (uint64_t at = 0; at < upload.bytes.size(); at += 1 << 20) {
    ASSERT_TRUE(stream->Write(ChunkMessage(0, at, upload.bytes.substr(at, 1 << 20))));
  }
  ASSERT_TRUE(stream->Write(EndMessage()));
  ASSERT_TRUE(Eventually([this] {
    const std::vector<int> busy = events_.busy();
    return !busy.empty() && busy.back() > 0;
  }));
  const double before = CpuSeconds();
  context->TryCancel();
  v1::QuantizeResponse response;
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([this] { return events_.reserved_bytes() == 0; }));
  const double spent = CpuSeconds() - before;
  RecordProperty("cpu_ms_after_cancel", static_cast<int>(spent * 1000));
  // 100 ms of each of two threads, and as much again for slow CPUs. CPU time, because wall time
  // says more about the machine's other guests than about the kernel.
  EXPECT_LT(spent, 0.4);
  ExpectOneCancelled();
}

TEST_F(LimitsTest, CancelWhileTheResultIsBeingRead) {
  config_.options.budget_bytes = uint64_t{512} << 20;
  Start();
  // The result is larger than the outbox and the transport hold, so that it cannot be sent unread.
  const Upload upload = MakeWeight("w.weight", 4096, 4096, 4);
  const auto context = NewContext();
  const auto stream = stub().Quantize(context.get());
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader("sending", {upload}))));
  for (uint64_t at = 0; at < upload.bytes.size(); at += 1 << 20) {
    ASSERT_TRUE(stream->Write(ChunkMessage(0, at, upload.bytes.substr(at, 1 << 20))));
  }
  ASSERT_TRUE(stream->Write(EndMessage()));
  v1::QuantizeResponse response;
  while (!response.has_chunk()) ASSERT_TRUE(stream->Read(&response));
  context->TryCancel();
  while (stream->Read(&response)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  ExpectOneCancelled();
}

TEST_F(LimitsTest, CancelAfterTheEndChangesNothing) {
  Start();
  const auto context = NewContext();
  const CallResult result = Run(MakeHeader("done", {small_}), {small_}, 1 << 20, context.get());
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  context->TryCancel();
  ASSERT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
  EXPECT_EQ(Cancelled(), 0);
}

TEST_F(LimitsTest, ManyJobsAtOnceAllSucceed) {
  Start();
  std::vector<std::thread> threads;
  std::vector<CallResult> results(8);
  for (size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([this, i, &results] {
      results[i] = Run(MakeHeader("parallel", {large_}), {large_}, 1 << 18);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const CallResult& result : results) {
    ASSERT_TRUE(result.status.ok()) << result.status.error_message();
    EXPECT_EQ(result.bytes, results[0].bytes);
  }
}

}  // namespace
}  // namespace quantd::testing
