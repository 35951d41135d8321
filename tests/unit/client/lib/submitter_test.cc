#include "client/lib/submitter.h"

#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "tests/unit/client/lib/fake_service.h"

namespace quantd::client {
namespace {

SubmitOptions Quick(int jobs) {
  SubmitOptions options;
  options.jobs = jobs;
  options.retry.first_delay = absl::Milliseconds(1);
  options.retry.longest_delay = absl::Milliseconds(1);
  return options;
}

// Sends a job named after its index and attempt, with one small weight.
Submitter::TryJob SmallJobs(const std::string& weight) {
  return [&weight](int index, int attempt, JobClient* client) {
    QuantizeJob job;
    job.id = std::to_string(index) + "." + std::to_string(attempt);
    job.layout = "plain";
    job.spec.method = "rtn";
    TensorDecl decl;
    decl.name = "w" + std::to_string(index);
    decl.role = Role::kWeight;
    decl.dtype = DType::kF32;
    decl.shape = {1, static_cast<int64_t>(weight.size() / 4)};
    job.tensors = {decl};
    const absl::Span<const std::byte> bytes[] = {BytesOf(weight)};
    return client->Quantize(job, bytes, CallOptions());
  };
}

class SubmitterTest : public ::testing::Test {
 protected:
  absl::Status Run(int count, int jobs, FakeService::Script script) {
    FakeService service(std::move(script));
    std::unique_ptr<Connection> connection = service.Connect();
    Submitter submitter(connection.get(), Quick(jobs), &stop_);
    absl::Status status = submitter.Run(
        count, SmallJobs(weight_),
        [this](int index, JobAnswer) {
          taken_.insert(index);
          return take_status_;
        },
        [this](int, const AttemptFailure&, absl::Duration) { ++retries_; });
    calls_ = service.calls();
    failed_ = submitter.failed_job();
    return status;
  }

  const std::string weight_ = std::string(64, 'w');
  StopSource stop_;
  std::multiset<int> taken_;
  absl::Status take_status_;
  std::atomic<int> retries_{0};
  int calls_ = 0;
  std::optional<int> failed_;
};

TEST_F(SubmitterTest, EveryJobIsTakenOnce) {
  ASSERT_TRUE(Run(20, 4,
                  [](int, const SeenRequest& seen, grpc::ServerContext*,
                     FakeService::Stream* stream) { return AnswerHonestly(seen, stream); })
                  .ok());
  EXPECT_EQ(taken_.size(), 20);
  EXPECT_EQ(std::set<int>(taken_.begin(), taken_.end()).size(), 20);
}

TEST_F(SubmitterTest, ALostServerMeansANewAttemptUnderANewId) {
  std::string last_id;
  ASSERT_TRUE(Run(1, 1,
                  [&](int call, const SeenRequest& seen, grpc::ServerContext*,
                      FakeService::Stream* stream) {
                    if (call < 3) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
                    last_id = seen.header.job_id();
                    return AnswerHonestly(seen, stream);
                  })
                  .ok());
  EXPECT_EQ(last_id, "0.3");
  EXPECT_EQ(retries_, 2);
  EXPECT_EQ(taken_.size(), 1);
  EXPECT_EQ(failed_, std::nullopt);
}

TEST_F(SubmitterTest, AFullServerIsAskedAgain) {
  ASSERT_TRUE(Run(1, 1,
                  [&](int call, const SeenRequest& seen, grpc::ServerContext* context,
                      FakeService::Stream* stream) {
                    if (call == 1) {
                      context->AddTrailingMetadata("grpc-retry-pushback-ms", "1");
                      return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full");
                    }
                    return AnswerHonestly(seen, stream);
                  })
                  .ok());
  EXPECT_EQ(calls_, 2);
}

TEST_F(SubmitterTest, AWrongRequestEndsTheRunWithItsOwnMessage) {
  absl::Status status = Run(
      8, 2, [&](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
        if (seen.header.tensors(0).name() == "w3") {
          return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "w3 is wrong");
        }
        return AnswerHonestly(seen, stream);
      });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "w3 is wrong");
  EXPECT_EQ(taken_.count(3), 0);
  EXPECT_EQ(retries_, 0);
  EXPECT_EQ(failed_, 3);
}

TEST_F(SubmitterTest, AnErrorOfTheTakerEndsTheRun) {
  take_status_ = absl::ResourceExhaustedError("disk full");
  absl::Status status = Run(
      8, 1, [](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
        return AnswerHonestly(seen, stream);
      });
  EXPECT_EQ(status.message(), "disk full");
  EXPECT_EQ(taken_.size(), 1);
  EXPECT_EQ(failed_, 0);
}

TEST_F(SubmitterTest, AStopFromOutsideIsCancelled) {
  absl::Status status =
      Run(8, 2,
          [this](int call, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* s) {
            if (call == 3) stop_.Stop();
            return AnswerHonestly(seen, s);
          });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_LT(taken_.size(), 8);
  EXPECT_EQ(failed_, std::nullopt);
}

}  // namespace
}  // namespace quantd::client
