#include "client/lib/job_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/synchronization/notification.h"
#include "tests/unit/client/lib/fake_service.h"

namespace quantd::client {
namespace {

using ::testing::HasSubstr;

class JobClientTest : public ::testing::Test {
 protected:
  JobClientTest() {
    for (size_t i = 0; i < weight_.size(); ++i) weight_[i] = static_cast<char>(i * 37 + i / 256);
    TensorDecl decl;
    decl.name = "w";
    decl.role = Role::kWeight;
    decl.dtype = DType::kF32;
    decl.shape = {25, 100};
    job_.id = "job";
    job_.layout = "plain";
    job_.spec.method = "rtn";
    job_.tensors = {decl};
  }

  Attempt Run(FakeService::Script script, CallOptions options = {},
              JobObserver* observer = nullptr) {
    FakeService service(std::move(script));
    connection_ = service.Connect();
    JobClient client(connection_->channel(), &stop_);
    const absl::Span<const std::byte> bytes[] = {BytesOf(weight_)};
    Attempt attempt = client.Quantize(job_, bytes, options, observer);
    connection_.reset();
    return attempt;
  }

  std::string weight_ = std::string(10000, '\0');
  QuantizeJob job_;
  StopSource stop_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(JobClientTest, SendsEveryByteAndTakesTheResult) {
  SeenRequest arrived;
  CallOptions options;
  options.chunk_bytes = 999;
  Attempt attempt = Run(
      [&](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
        arrived = seen;
        return AnswerHonestly(seen, stream);
      },
      options);
  ASSERT_TRUE(attempt.failure.status.ok()) << attempt.failure.status;
  EXPECT_EQ(arrived.header.job_id(), "job");
  EXPECT_EQ(arrived.tensors[0], weight_);
  EXPECT_TRUE(arrived.end);
  ASSERT_EQ(attempt.answer.tensors.size(), 1);
  EXPECT_EQ(attempt.answer.tensors[0].decl.name, "w.packed");
  const Buffer& bytes = attempt.answer.tensors[0].bytes;
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), weight_);
  EXPECT_EQ(attempt.answer.final.build_id, "fake");
  EXPECT_EQ(attempt.answer.sent_bytes, weight_.size());
  EXPECT_FALSE(attempt.failure.advanced);
}

class StateObserver : public JobObserver {
 public:
  void OnProgress(const wire::ProgressFrame& frame) override {
    if (frame.round) losses.push_back(frame.round->relative_loss);
  }
  bool OnState(std::string state) override {
    states.push_back(std::move(state));
    return keeps;
  }

  std::vector<double> losses;
  std::vector<std::string> states;
  bool keeps = true;
};

TEST_F(JobClientTest, WholeStatesAndLossesReachTheObserver) {
  StateObserver observer;
  const auto script = [](grpc::StatusCode code) {
    return [code](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
      stream->Write(AcceptedMessage(seen));
      v1::QuantizeResponse progress;
      wire::PutFrame(
          wire::ResponseFrame(wire::ProgressFrame{Phase::kSolving, 0.5, 1, {{0, 4, 0.0181}}}),
          &progress);
      stream->Write(progress);
      for (const auto& m : StateMessages("first")) stream->Write(m);
      for (const auto& m : StateMessages(std::string(2500, 'z'))) stream->Write(m);
      auto broken_off = StateMessages(std::string(2500, 'y'));
      stream->Write(broken_off[0]);
      if (code != grpc::StatusCode::OK) return grpc::Status(code, "gone");
      for (const auto& m : TensorMessages(0, 0, "w.packed", "abc")) stream->Write(m);
      stream->Write(FinalMessage({"w"}));
      return grpc::Status::OK;
    };
  };
  Attempt attempt = Run(script(grpc::StatusCode::OK), {}, &observer);
  EXPECT_TRUE(attempt.failure.status.ok()) << attempt.failure.status;
  EXPECT_THAT(observer.states, ::testing::ElementsAre("first", std::string(2500, 'z')));
  EXPECT_THAT(observer.losses, ::testing::ElementsAre(0.0181));
  // Only a state that was kept is one to go on from.
  for (const bool keeps : {true, false}) {
    observer.keeps = keeps;
    attempt = Run(script(grpc::StatusCode::UNAVAILABLE), {}, &observer);
    EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(attempt.failure.advanced, keeps);
  }
}

TEST_F(JobClientTest, AServerThatAnswersBeforeReadingDoesNotDeadlock) {
  weight_.assign(8 << 20, 'x');
  job_.tensors[0].shape = {1024, 2048};
  Attempt attempt = Run([&](int, const SeenRequest& seen, grpc::ServerContext*,
                            FakeService::Stream* stream) { return AnswerHonestly(seen, stream); });
  EXPECT_TRUE(attempt.failure.status.ok()) << attempt.failure.status;
}

TEST_F(JobClientTest, ACallWithoutFinalHasFailed) {
  Attempt attempt =
      Run([](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
        stream->Write(AcceptedMessage(seen));
        for (const auto& m : TensorMessages(0, 0, "w.packed", "abc")) stream->Write(m);
        return grpc::Status::OK;
      });
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(attempt.failure.status.message()), HasSubstr("without Final"));
}

TEST_F(JobClientTest, ADigestThatDoesNotHoldIsDataLoss) {
  Attempt attempt =
      Run([](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
        stream->Write(AcceptedMessage(seen));
        auto messages = TensorMessages(0, 0, "w.packed", "abcd");
        messages[0].mutable_tensor()->mutable_decl()->mutable_digest()->at(3) ^= 1;
        for (const auto& m : messages) stream->Write(m);
        stream->Write(FinalMessage({"w"}));
        return grpc::Status::OK;
      });
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kDataLoss) << attempt.failure.status;
  EXPECT_THAT(std::string(attempt.failure.status.message()), HasSubstr("w.packed"));
}

TEST_F(JobClientTest, AMissingTailIsDataLoss) {
  Attempt attempt =
      Run([](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
        stream->Write(AcceptedMessage(seen));
        auto messages = TensorMessages(0, 0, "w.packed", std::string(2500, 'a'));
        messages.pop_back();
        for (const auto& m : messages) stream->Write(m);
        stream->Write(FinalMessage({"w"}));
        return grpc::Status::OK;
      });
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kDataLoss) << attempt.failure.status;
}

TEST_F(JobClientTest, AWeightThatIsNotDeliveredIsAnError) {
  Attempt attempt =
      Run([](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
        stream->Write(AcceptedMessage(seen));
        stream->Write(FinalMessage({"w"}));
        return grpc::Status::OK;
      });
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kInternal) << attempt.failure.status;
  EXPECT_THAT(std::string(attempt.failure.status.message()), HasSubstr("\"w\""));
}

TEST_F(JobClientTest, StatusAndPushbackComeThrough) {
  for (const char* pushback : {"250", "-1", "soon"}) {
    Attempt attempt = Run(
        [pushback](int, const SeenRequest&, grpc::ServerContext* context, FakeService::Stream*) {
          context->AddTrailingMetadata("grpc-retry-pushback-ms", pushback);
          return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full");
        });
    EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kResourceExhausted);
    ASSERT_TRUE(attempt.failure.pushback) << pushback;
    if (std::string(pushback) == "250") {
      EXPECT_EQ(*attempt.failure.pushback, absl::Milliseconds(250));
    } else {
      EXPECT_LT(*attempt.failure.pushback, absl::ZeroDuration()) << pushback;
    }
  }
}

TEST_F(JobClientTest, StoppingEndsARunningCall) {
  absl::Notification running;
  std::thread stopper([&] {
    running.WaitForNotification();
    stop_.Stop();
  });
  Attempt attempt =
      Run([&](int, const SeenRequest&, grpc::ServerContext* context, FakeService::Stream* stream) {
        running.Notify();
        v1::QuantizeRequest message;
        while (!context->IsCancelled()) stream->Read(&message);
        return grpc::Status::OK;
      });
  stopper.join();
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kCancelled);
}

TEST_F(JobClientTest, TheDeadlineEndsASilentCall) {
  CallOptions options;
  options.deadline = absl::Milliseconds(50);
  Attempt attempt = Run(
      [&](int, const SeenRequest&, grpc::ServerContext* context, FakeService::Stream* stream) {
        v1::QuantizeRequest message;
        while (!context->IsCancelled()) stream->Read(&message);
        return grpc::Status::OK;
      },
      options);
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace quantd::client
