// Whole runs of quantize against a scripted server: what becomes of the states that it sends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "absl/synchronization/mutex.h"
#include "client/cli/exit_codes.h"
#include "client/cli/quantize.h"
#include "tests/unit/client/files/model_folder.h"
#include "tests/unit/client/lib/fake_service.h"

namespace quantd::cli {
namespace {

using client::FakeService;
using client::Reject;
using client::SeenRequest;
using ::quantd::testing::FileExists;
using ::quantd::testing::ReadText;
using ::quantd::testing::WriteText;
using ::testing::HasSubstr;
using ::testing::Not;

// A server that also has an answer to Estimate: everything fits.
class FakeServer : public FakeService {
 public:
  using FakeService::FakeService;
  grpc::Status Estimate(grpc::ServerContext*, const v1::EstimateRequest* request,
                        v1::EstimateResponse* response) override {
    *response->mutable_spec() = request->header().spec();
    response->set_admissible(true);
    return grpc::Status::OK;
  }
};

// The bytes of the request's CHECKPOINT; "" without one.
std::string CheckpointOf(const SeenRequest& seen) {
  for (int i = 0; i < seen.header.tensors_size(); ++i) {
    if (seen.header.tensors(i).role() == v1::ROLE_CHECKPOINT) return seen.tensors.at(i);
  }
  return "";
}

void SendStates(const std::vector<std::string>& states, const SeenRequest& seen,
                FakeService::Stream* stream) {
  stream->Write(client::AcceptedMessage(seen));
  for (const std::string& state : states) {
    for (const auto& message : client::StateMessages(state)) stream->Write(message);
  }
}

grpc::Status GoAway(grpc::ServerContext* context) {
  context->AddTrailingMetadata("grpc-retry-pushback-ms", "0");
  return grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining");
}

class ResumedSolveTest : public ::testing::Test {
 protected:
  ResumedSolveTest() {
    quantd::testing::WriteLlama(folder_ / "model");
    flags_.model_dir = folder_ / "model";
    flags_.out_dir = folder_ / "out";
    flags_.layout = "plain";
    flags_.spec.method = "aqlm";
    flags_.include = {"layers\\.0\\.mlp\\.down_proj"};
    flags_.checkpoint_seconds = 17;
  }

  // Runs quantize; the script gets what each call brought, calls are counted over all runs.
  int Run(const FakeService::Script& script) {
    FakeServer server([&](int, const SeenRequest& seen, grpc::ServerContext* context,
                          FakeService::Stream* stream) {
      int call = 0;
      {
        // Calls come one after the other, as gRPC knows and the thread sanitizer does not.
        absl::MutexLock lock(&mutex_);
        headers_.push_back(seen.header);
        checkpoints_.push_back(CheckpointOf(seen));
        call = static_cast<int>(headers_.size());
      }
      return script(call, seen, context, stream);
    });
    err_.str("");
    client::StopSource stop;
    Environment env;
    env.out = &out_;
    env.err = &err_;
    env.stop = &stop;
    env.connect = [&server](const client::ChannelOptions&) { return server.Connect(); };
    return RunQuantize(flags_, &env);
  }

  // A run that got one state and then broke down.
  void BreakAfter(const std::string& state) {
    EXPECT_EQ(
        Run([&](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
          SendStates({state}, seen, stream);
          return grpc::Status(grpc::StatusCode::INTERNAL, "broke down");
        }),
        kExitRuntime);
    EXPECT_TRUE(FileExists(state_file_));
    flags_.resume = true;
  }

  quantd::testing::TempFolder folder_;
  const std::string state_file_ = folder_ / "out/quantd-work/00000.state";
  QuantizeFlags flags_;
  std::ostringstream out_, err_;
  absl::Mutex mutex_;
  std::vector<v1::QuantizeHeader> headers_;
  std::vector<std::string> checkpoints_;
};

TEST_F(ResumedSolveTest, ALostServerIsFollowedByOneThatGoesOnFromTheNewestState) {
  const std::string newest(2500, 'n');
  EXPECT_EQ(Run([&](int call, const SeenRequest& seen, grpc::ServerContext* context,
                    FakeService::Stream* stream) {
              if (call == 2) return Reject(seen, stream);
              SendStates({"the first", newest}, seen, stream);
              stream->Write(client::StateMessages(std::string(5000, 'x'))[0]);  // and no more of it
              return GoAway(context);
            }),
            kExitBadInput);
  ASSERT_EQ(checkpoints_.size(), 2u);
  EXPECT_EQ(checkpoints_[0], "");
  EXPECT_EQ(checkpoints_[1], newest);
  EXPECT_THAT(err_.str(), HasSubstr("down_proj.weight: goes on from its stored state"));
  EXPECT_EQ(headers_[0].checkpoint_seconds(), 17u);
  EXPECT_EQ(headers_[1].checkpoint_seconds(), 17u);
  EXPECT_FALSE(FileExists(state_file_));  // the job has ended
}

TEST_F(ResumedSolveTest, ALaterRunGoesOnToo) {
  BreakAfter("all that is known");
  Run([](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
    return Reject(seen, stream);
  });
  ASSERT_EQ(checkpoints_.size(), 2u);
  EXPECT_EQ(checkpoints_[1], "all that is known");
  EXPECT_FALSE(FileExists(state_file_));
}

TEST_F(ResumedSolveTest, AStateThatTheServerRefusesIsDroppedAndTheJobBeginsAnew) {
  const std::pair<grpc::StatusCode, const char*> refusals[] = {
      {grpc::StatusCode::FAILED_PRECONDITION, "CHECKPOINT belongs to another request"},
      {grpc::StatusCode::INVALID_ARGUMENT, "tensor 'x': CHECKPOINT is damaged: short"},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, "larger than the budget"},
  };
  for (const auto& [code, message] : refusals) {
    BreakAfter("of another version");
    checkpoints_.clear();
    headers_.clear();
    Run([&, code = code, message = message](int call, const SeenRequest& seen,
                                            grpc::ServerContext* context,
                                            FakeService::Stream* stream) {
      if (call == 2) return Reject(seen, stream);
      context->AddTrailingMetadata("grpc-retry-pushback-ms", "-1");
      return grpc::Status(code, message);
    });
    ASSERT_EQ(checkpoints_.size(), 2u) << message;
    EXPECT_EQ(checkpoints_[0], "of another version");
    EXPECT_EQ(checkpoints_[1], "");
    EXPECT_NE(headers_[0].job_id(), headers_[1].job_id());
    EXPECT_THAT(err_.str(), HasSubstr("begins anew"));
    EXPECT_THAT(err_.str(), HasSubstr(message));
  }
}

TEST_F(ResumedSolveTest, OtherErrorsLeaveTheStateWhereItIs) {
  BreakAfter("state");
  EXPECT_EQ(Run([](int, const SeenRequest&, grpc::ServerContext*, FakeService::Stream*) {
              return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "tensor 'H': NaN");
            }),
            kExitBadInput);
  EXPECT_EQ(checkpoints_.size(), 2u);
  EXPECT_THAT(err_.str(), Not(HasSubstr("anew")));
  EXPECT_TRUE(FileExists(state_file_));
}

TEST_F(ResumedSolveTest, ADamagedFileIsToldAndNotSent) {
  BreakAfter("state");
  std::string text = ReadText(state_file_);
  text.back() ^= 1;
  WriteText(state_file_, text);
  Run([](int, const SeenRequest& seen, grpc::ServerContext*, FakeService::Stream* stream) {
    return Reject(seen, stream);
  });
  EXPECT_EQ(checkpoints_.back(), "");
  EXPECT_THAT(err_.str(), HasSubstr("is damaged"));
}

TEST_F(ResumedSolveTest, AStateThatCannotBeStoredIsToldOnceAndTheRunGoesOn) {
  EXPECT_EQ(Run([&](int call, const SeenRequest& seen, grpc::ServerContext* context,
                    FakeService::Stream* stream) {
              if (call == 2) return Reject(seen, stream);
              WriteText(folder_ / "out/quantd-work", "a file where the work area should be");
              SendStates({"first", "second"}, seen, stream);
              return GoAway(context);
            }),
            kExitBadInput);
  EXPECT_EQ(checkpoints_.back(), "");
  const size_t told = err_.str().find("its state cannot be stored");
  ASSERT_NE(told, std::string::npos);
  EXPECT_EQ(err_.str().find("its state cannot be stored", told + 1), std::string::npos);
}

TEST_F(ResumedSolveTest, StatesAreAskedOfLongSolvesOnly) {
  const auto reject = [](int, const SeenRequest& seen, grpc::ServerContext*,
                         FakeService::Stream* stream) { return Reject(seen, stream); };
  flags_.checkpoint_seconds = 0;
  Run(reject);
  flags_.checkpoint_seconds = 17;
  flags_.out_dir = folder_ / "other";
  flags_.spec.method = "rtn";
  flags_.spec.fields["group-size"] = "32";
  Run(reject);
  ASSERT_EQ(headers_.size(), 2u);
  EXPECT_EQ(headers_[0].checkpoint_seconds(), 0u);
  EXPECT_EQ(headers_[1].checkpoint_seconds(), 0u);
}

}  // namespace
}  // namespace quantd::cli
