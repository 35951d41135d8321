#include "client/lib/call_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace quantd::client {
namespace {

using ::testing::HasSubstr;

std::string MessageOf(const std::string& message) {
  return std::string(StatusOf({grpc::StatusCode::UNAVAILABLE, message}).message());
}

TEST(CallStatusTest, KeepsCodeAndMessage) {
  EXPECT_TRUE(StatusOf(grpc::Status::OK).ok());
  const absl::Status status = StatusOf({grpc::StatusCode::DATA_LOSS, "digest differs"});
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(status.message(), "digest differs");
}

TEST(CallStatusTest, FailedConnectionsGetTheirLikelyReason) {
  const std::string failing = "connections to all backends failing; last error: ";
  EXPECT_THAT(MessageOf(failing + "UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed"),
              HasSubstr("--tls-ca"));
  EXPECT_THAT(MessageOf(failing + "UNAVAILABLE: backend unhealthy"),
              HasSubstr("quantd.v1.QuantizationService"));
}

TEST(CallStatusTest, AServerThatDiesIsNotTakenForOneThatWantsTls) {
  EXPECT_EQ(MessageOf("Socket closed"), "Socket closed");
}

}  // namespace
}  // namespace quantd::client
