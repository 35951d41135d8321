// The health port, and what is said about the certificate.
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <chrono>
#include <cstdio>
#include <memory>
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

// What a client that balances over replicas says to gRPC.
constexpr char kChecksHealth[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": "quantd.v1.QuantizationService"}
})";

std::shared_ptr<grpc::Channel> ChannelThatChecksHealth(int port) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kChecksHealth);
  return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port),
                                   grpc::InsecureChannelCredentials(), arguments);
}

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

TEST_F(HealthTest, AWatcherDoesNotHoldTheServerAtItsEnd) {
  StartWithHealth();
  const auto channel = ChannelThatChecksHealth(server_->health_port());
  ASSERT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10)));
  server_->RefuseNew();
  EXPECT_TRUE(server_->Shutdown(absl::ZeroDuration()));
  server_.reset();  // would wait for the watcher, who stays
  expect_service_after_ = false;
}

TEST_F(HealthTest, AClientThatChecksHealthGetsJobsThroughWithOneStream) {
  config_.options.listen = {"127.0.0.1:0"};
  config_.options.max_streams = 1;
  Start();
  const auto remote =
      v1::QuantizationService::NewStub(ChannelThatChecksHealth(server_->ports().at(0)));
  const Upload weight = MakeWeight("w.weight", 16, 128, 1);
  const CallResult result =
      Run(MakeHeader("checked", {weight}), {weight}, 1 << 20, nullptr, remote.get());
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
}

TEST_F(HealthTest, AClientThatChecksHealthSendsNothingToAServerThatDrains) {
  config_.options.listen = {"127.0.0.1:0"};
  Start();
  const auto channel = ChannelThatChecksHealth(server_->ports().at(0));
  const auto remote = v1::QuantizationService::NewStub(channel);
  ASSERT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10)));
  server_->RefuseNew();
  ASSERT_TRUE(Eventually([&] { return channel->GetState(false) != GRPC_CHANNEL_READY; }));
  const auto context = NewContext();
  v1::GetCapabilitiesResponse answer;
  EXPECT_EQ(
      remote->GetCapabilities(context.get(), v1::GetCapabilitiesRequest(), &answer).error_code(),
      grpc::StatusCode::UNAVAILABLE);
  expect_service_after_ = false;
}

// A key pair of its own, self-signed, in two PEM files of a folder that goes with the test.
class CertificateEndTest : public ::testing::Test {
 protected:
  CertificateEndTest() {
    options_.tls_cert = ::testing::TempDir() + "/certificate_end.crt";
    options_.tls_key = ::testing::TempDir() + "/certificate_end.key";
  }
  ~CertificateEndTest() override {
    std::remove(options_.tls_cert.c_str());
    std::remove(options_.tls_key.c_str());
  }

  void WritePair(const char* end, bool key_too = true) const {
    EVP_PKEY* const key = EVP_EC_gen("P-256");
    X509* const certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), end);
    X509_set_pubkey(certificate, key);
    ASSERT_NE(X509_sign(certificate, key, EVP_sha256()), 0);
    Write(options_.tls_cert, [&](BIO* file) { return PEM_write_bio_X509(file, certificate); });
    if (key_too) {
      Write(options_.tls_key, [&](BIO* file) {
        return PEM_write_bio_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
      });
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
  }

  template <typename Pem>
  static void Write(const std::string& path, const Pem& pem) {
    BIO* const file = BIO_new_file(path.c_str(), "w");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(pem(file), 1);
    BIO_free(file);
  }

  ServerOptions options_;
};

TEST_F(CertificateEndTest, IsWhatTheFileSays) {
  WritePair("20300405060708Z");
  const auto end = CertificateEnd(options_);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(absl::ToUnixSeconds(*end), 1901599628);
}

TEST_F(CertificateEndTest, ACertificateWithoutItsKeyIsNotShownYet) {
  WritePair("20300405060708Z");
  WritePair("20310405060708Z", /*key_too=*/false);
  const absl::Status status = CertificateEnd(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("is not the key of"));
}

TEST_F(CertificateEndTest, AFileThatCannotBeReadIsNamedWithTheReason) {
  const absl::Status status = CertificateEnd(options_).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(options_.tls_cert));
  EXPECT_THAT(std::string(status.message()), HasSubstr("No such file"));
}

}  // namespace
}  // namespace quantd::testing
