// What surrounds the jobs: Estimate, GetCapabilities, health, reflection, draining, embedding.
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/client_unary_call.h"
#include "grpcpp/support/byte_buffer.h"
#include "server/embedded.h"
#include "tests/api/api_fixture.h"

namespace quantd::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::UnorderedElementsAreArray;

class ServiceTest : public ApiTest {
 protected:
  // grpc.health.v1.Health/Check; its messages have one field each, so that they are read by hand:
  // a string `service` (field 1), an enum `status` (field 1; 1 SERVING, 2 NOT_SERVING).
  struct Health {
    grpc::Status status;
    int serving = 0;
  };
  Health Check(const std::string& service) {
    std::string request;
    if (!service.empty()) {
      request = std::string("\x0a") + static_cast<char>(service.size()) + service;
    }
    grpc::Slice slice(request);
    const grpc::ByteBuffer in(&slice, 1);
    grpc::ByteBuffer out;
    const auto context = NewContext();
    Health health;
    health.status = grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
        channel().get(),
        grpc::internal::RpcMethod("/grpc.health.v1.Health/Check",
                                  grpc::internal::RpcMethod::NORMAL_RPC),
        context.get(), in, &out);
    grpc::Slice answer;
    if (health.status.ok() && out.DumpToSingleSlice(&answer).ok() && answer.size() == 2) {
      health.serving = answer.begin()[1];
    }
    return health;
  }

  // Whether the server knows the reflection service at all.
  bool ReflectionAnswers() {
    grpc::GenericStub generic(channel());
    const auto context = NewContext();
    grpc::CompletionQueue queue;
    auto call = generic.PrepareCall(
        context.get(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
    void* tag = nullptr;
    bool ok = false;
    call->StartCall(nullptr);
    queue.Next(&tag, &ok);
    call->WritesDone(nullptr);
    queue.Next(&tag, &ok);
    grpc::Status status;
    call->Finish(&status, nullptr);
    queue.Next(&tag, &ok);
    queue.Shutdown();
    while (queue.Next(&tag, &ok)) {
    }
    return status.error_code() != grpc::StatusCode::UNIMPLEMENTED;
  }

  const Upload weight_ = MakeWeight("w.weight", 256, 512, 2);
};

TEST_F(ServiceTest, EstimateSaysWhatAcceptedWillSay) {
  Start();
  v1::EstimateRequest request;
  *request.mutable_header() = MakeHeader("dry", {weight_});
  v1::EstimateResponse response;
  auto context = NewContext();
  const grpc::Status status = stub().Estimate(context.get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.input_bytes(), weight_.bytes.size());
  EXPECT_GT(response.output_bytes(), 256u * 512 / 2);
  EXPECT_LT(response.output_bytes(), weight_.bytes.size() / 4);
  EXPECT_TRUE(response.admissible());
  EXPECT_EQ(response.budget_bytes(), uint64_t{64} << 20);
  EXPECT_EQ(response.spec().levels().bits(), 4u);
  const CallResult job = Run(MakeHeader("wet", {weight_}), {weight_});
  ASSERT_TRUE(job.status.ok()) << job.status.error_message();
  EXPECT_EQ(job.accepted[0].predicted_peak_bytes(), response.peak_bytes());
  uint64_t sent = 0;
  for (const std::string& bytes : job.bytes) sent += bytes.size();
  EXPECT_EQ(sent, response.output_bytes());
}

TEST_F(ServiceTest, EstimateOfTooMuchIsAnAnswerAndNotAnError) {
  Start();
  v1::EstimateRequest request;
  *request.mutable_header() = MakeHeader("dry", {weight_});
  request.mutable_header()->mutable_tensors(0)->set_shape(0, 1 << 20);
  v1::EstimateResponse response;
  const auto context = NewContext();
  const grpc::Status status = stub().Estimate(context.get(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(response.admissible());
  EXPECT_GT(response.peak_bytes(), response.budget_bytes());
}

TEST_F(ServiceTest, EstimateRefusesWhatQuantizeRefuses) {
  Start();
  v1::EstimateResponse response;
  v1::EstimateRequest request;
  auto context = NewContext();
  EXPECT_EQ(stub().Estimate(context.get(), request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  *request.mutable_header() = MakeHeader("dry", {weight_});
  request.mutable_header()->mutable_spec()->mutable_levels()->set_bits(9);
  context = NewContext();
  const grpc::Status status = stub().Estimate(context.get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("spec.levels.bits"));
}

TEST_F(ServiceTest, CapabilitiesNameMethodsLayoutsAndLimits) {
  Start();
  v1::GetCapabilitiesResponse response;
  const auto context = NewContext();
  const grpc::Status status =
      stub().GetCapabilities(context.get(), v1::GetCapabilitiesRequest(), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  std::vector<std::string> methods, readings;
  for (const v1::MethodInfo& method : response.methods()) {
    methods.push_back(method.name());
    EXPECT_FALSE(method.title().empty()) << method.name();
    EXPECT_GE(method.defaults().levels().bits(), 2u) << method.name();
    if (!method.reading().empty()) readings.push_back(method.reading());
  }
  EXPECT_EQ(methods.size(), 31u);
  EXPECT_THAT(methods,
              IsSupersetOf({"rtn", "gptq", "adadim-gptq", "spqr", "mxfp4", "wkv", "aqlm"}));
  EXPECT_FALSE(readings.empty());
  std::vector<int> layouts;
  for (int v = 1; v <= v1::Layout_MAX; ++v) layouts.push_back(v);
  EXPECT_THAT(response.layouts(), UnorderedElementsAreArray(layouts));
  EXPECT_EQ(response.budget_bytes(), uint64_t{64} << 20);
  EXPECT_EQ(response.worker_threads(), 2u);
  EXPECT_EQ(response.max_message_bytes(), 4u << 20);
  EXPECT_EQ(response.chunk_bytes(), 1u << 20);
  EXPECT_THAT(response.blas(), HasSubstr("OpenBLAS"));
  EXPECT_FALSE(response.cpu().empty());
  EXPECT_FALSE(response.build_id().empty());
}

TEST_F(ServiceTest, HealthKnowsTwoNames) {
  Start();
  EXPECT_EQ(Check("").serving, 1);
  EXPECT_EQ(Check("quantd.v1.QuantizationService").serving, 1);
  EXPECT_EQ(Check("nobody").status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServiceTest, DrainingRefusesNewJobsAndLetsAdmittedOnesFinish) {
  Start();
  const auto context = NewContext();
  const auto stream = stub().Quantize(context.get());
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader("running", {weight_}))));
  v1::QuantizeResponse response;
  ASSERT_TRUE(stream->Read(&response));
  ASSERT_TRUE(response.has_accepted());

  server_->RefuseNew();
  EXPECT_EQ(Check("").serving, 2);
  EXPECT_EQ(Check("quantd.v1.QuantizationService").serving, 2);
  const CallResult refused = RunSmallJob("too-late");
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE)
      << refused.status.error_message();
  EXPECT_EQ(refused.pushback_ms(), 0);

  ASSERT_TRUE(stream->Write(ChunkMessage(0, 0, weight_.bytes)));
  stream->Write(EndMessage());
  stream->WritesDone();
  const CallResult result = Drain(stream.get(), context.get());
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.finals.size(), 1u);
  expect_service_after_ = false;
}

TEST_F(ServiceTest, TheEndOfADrainIsUnavailableForWhatStillRuns) {
  Start();
  const auto context = NewContext();
  const auto stream = stub().Quantize(context.get());
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader("running", {weight_}))));
  v1::QuantizeResponse response;
  ASSERT_TRUE(stream->Read(&response));
  server_->RefuseNew();
  server_->CancelRunning();
  const CallResult result = Drain(stream.get(), context.get());
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::UNAVAILABLE)
      << result.status.error_message();
  EXPECT_EQ(result.pushback_ms(), 0);
  EXPECT_TRUE(server_->Shutdown(absl::Seconds(2)));
  expect_service_after_ = false;
}

TEST_F(ServiceTest, DestroyingAServerWithOpenCallsEndsThem) {
  Start();
  const auto context = NewContext();
  const auto stream = stub().Quantize(context.get());
  ASSERT_TRUE(stream->Write(HeaderMessage(MakeHeader("open", {weight_}))));
  v1::QuantizeResponse response;
  ASSERT_TRUE(stream->Read(&response));
  server_.reset();
  EXPECT_FALSE(Drain(stream.get(), context.get()).status.ok());
  EXPECT_EQ(events_.reserved_bytes(), 0u);
}

TEST_F(ServiceTest, ReflectionIsOffUnlessAskedFor) {
  Start();
  EXPECT_FALSE(ReflectionAnswers());
}

TEST_F(ServiceTest, ReflectionAnswersWhenOn) {
  config_.options.reflection = true;
  Start();
  EXPECT_TRUE(ReflectionAnswers());
}

TEST_F(ServiceTest, TlsFilesThatDoNotWorkAreNamed) {
  config_.options.listen = {"127.0.0.1:0"};
  config_.options.tls_cert = "/nonexistent/cert.pem";
  config_.options.tls_key = "/nonexistent/key.pem";
  const auto server = QuantdServer::Start(config_);
  ASSERT_FALSE(server.ok());
  EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("/nonexistent/cert.pem"));
}

TEST_F(ServiceTest, TheEmbeddedServerSpeaksTheSameService) {
  const auto embedded = StartEmbeddedServer({uint64_t{64} << 20, 1});
  ASSERT_TRUE(embedded.ok()) << embedded.status();
  const auto remote = v1::QuantizationService::NewStub((*embedded)->channel());
  Start();
  const CallResult result =
      Run(MakeHeader("embedded", {weight_}), {weight_}, 1 << 20, nullptr, remote.get());
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  const CallResult direct = Run(MakeHeader("direct", {weight_}), {weight_});
  EXPECT_EQ(result.bytes, direct.bytes) << "one thread or two: the same bytes";
}

}  // namespace
}  // namespace quantd::testing
