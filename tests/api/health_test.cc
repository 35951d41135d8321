// The health port, and what is said about the certificate.
#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "server/health_query.h"
#include "server/tls.h"
#include "tests/api/api_fixture.h"

namespace quantd::testing {
namespace {

using ::testing::HasSubstr;

// Self-signed, valid until 2030-04-05 06:07:08 UTC (openssl ca -enddate 20300405060708Z).
constexpr char kCertificate[] = R"(-----BEGIN CERTIFICATE-----
MIIBCTCBsAIBATAKBggqhkjOPQQDAjARMQ8wDQYDVQQDDAZxdWFudGQwHhcNMjAw
MTAyMDMwNDA1WhcNMzAwNDA1MDYwNzA4WjARMQ8wDQYDVQQDDAZxdWFudGQwWTAT
BgcqhkjOPQIBBggqhkjOPQMBBwNCAATPEqyqb42r3ZMohyUHLdpMH8WWBxOkb6Zo
/igyPUFB4vV6vr8dqSCQsgVkjyhsli7IvQtJtToFO9jcmNBkLpSNMAoGCCqGSM49
BAMCA0gAMEUCIQC5uBoCJbTVlLwoB6Y6qndhgeB6D7sVcTW07kRQAeOvKgIgIQ6Q
gij3YlS+PiRd40euTSuxqKOBPDLMEdVK4jC4JsI=
-----END CERTIFICATE-----
)";

class HealthTest : public ApiTest {
 protected:
  void StartWithHealth() {
    config_.options.health_listen = "127.0.0.1:0";
    Start();
  }
  absl::Status Ask(const std::string& service) const {
    HealthQuery query;
    query.target = absl::StrCat("127.0.0.1:", server_->health_port());
    query.service = service;
    query.timeout = absl::Seconds(10);
    return AskHealth(query);
  }
};

TEST_F(HealthTest, TheHealthPortKnowsTheServiceAndLiveness) {
  StartWithHealth();
  EXPECT_TRUE(Ask(kServiceName).ok()) << Ask(kServiceName);
  EXPECT_TRUE(Ask("").ok());
  EXPECT_TRUE(Ask("liveness").ok());
  const absl::Status unknown = Ask("other.Service");
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("other.Service"));
}

TEST_F(HealthTest, WhileItDrainsItLivesAndIsNotReady) {
  StartWithHealth();
  server_->RefuseNew();
  EXPECT_THAT(std::string(Ask(kServiceName).message()), HasSubstr("is not serving"));
  EXPECT_FALSE(Ask("").ok());
  EXPECT_TRUE(Ask("liveness").ok());
  expect_service_after_ = false;
}

TEST_F(HealthTest, TheHealthPortServesNothingElse) {
  StartWithHealth();
  const auto channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->health_port()),
                                           grpc::InsecureChannelCredentials());
  const auto stub = v1::QuantizationService::NewStub(channel);
  const auto context = NewContext();
  v1::GetCapabilitiesResponse answer;
  EXPECT_EQ(
      stub->GetCapabilities(context.get(), v1::GetCapabilitiesRequest(), &answer).error_code(),
      grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(HealthTest, WithoutAHealthPortThereIsNone) {
  Start();
  EXPECT_EQ(server_->health_port(), 0);
}

TEST_F(HealthTest, ATakenHealthPortIsNamed) {
  StartWithHealth();
  QuantdServer::Config second = config_;
  second.options.health_listen = absl::StrCat("127.0.0.1:", server_->health_port());
  const auto server = QuantdServer::Start(second);
  ASSERT_FALSE(server.ok());
  EXPECT_THAT(std::string(server.status().message()), HasSubstr(second.options.health_listen));
}

TEST_F(HealthTest, ASilentAddressIsAnErrorThatNamesIt) {
  HealthQuery query;
  query.target = "127.0.0.1:1";
  const absl::Status status = AskHealth(query);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("127.0.0.1:1 does not answer"));
  Start();
}

TEST(CertificateEndTest, IsWhatTheFileSays) {
  const std::string path = ::testing::TempDir() + "/certificate.pem";
  std::ofstream(path) << kCertificate;
  const auto end = CertificateEnd(path);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(absl::ToUnixSeconds(*end), 1901599628);
  std::ofstream(path) << "no certificate";
  EXPECT_EQ(CertificateEnd(path).status().code(), absl::StatusCode::kInvalidArgument);
  std::remove(path.c_str());
  EXPECT_THAT(std::string(CertificateEnd(path).status().message()), HasSubstr(path));
}

}  // namespace
}  // namespace quantd::testing
