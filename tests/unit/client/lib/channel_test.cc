#include "client/lib/channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::client {
namespace {

using ::testing::HasSubstr;

TEST(ResolvableTargetTest, PlainNamesAreResolvedByDns) {
  EXPECT_EQ(ResolvableTarget("localhost:50051"), "dns:///localhost:50051");
  EXPECT_EQ(ResolvableTarget("dns:///quantd:50051"), "dns:///quantd:50051");
  EXPECT_EQ(ResolvableTarget("unix:/run/quantd.sock"), "unix:/run/quantd.sock");
  EXPECT_EQ(ResolvableTarget("ipv4:127.0.0.1:1"), "ipv4:127.0.0.1:1");
}

TEST(ConnectRemoteTest, HalfAKeyPairIsRefused) {
  ChannelOptions options;
  options.target = "localhost:1";
  options.tls_cert = "cert.pem";
  auto connection = ConnectRemote(options);
  EXPECT_EQ(connection.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(connection.status().message()), HasSubstr("--tls-key"));
}

TEST(ConnectRemoteTest, UnreadableCertificatesAreNamed) {
  ChannelOptions options;
  options.target = "localhost:1";
  options.tls_ca = "/no/such/ca.pem";
  auto connection = ConnectRemote(options);
  EXPECT_EQ(connection.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(connection.status().message()), HasSubstr("/no/such/ca.pem"));
}

TEST(ConnectRemoteTest, ChannelsTakeTurns) {
  ChannelOptions options;
  options.target = "localhost:1";
  options.channels = 2;
  auto connection = ConnectRemote(options);
  ASSERT_TRUE(connection.ok());
  auto first = (*connection)->channel();
  auto second = (*connection)->channel();
  EXPECT_NE(first, second);
  EXPECT_EQ((*connection)->channel(), first);
  options.channels = 0;
  EXPECT_FALSE(ConnectRemote(options).ok());
}

}  // namespace
}  // namespace quantd::client
