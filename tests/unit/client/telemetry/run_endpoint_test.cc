#include "client/telemetry/run_endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace quantd::client {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::unique_ptr<RunEndpoint>> Start(const std::string& listen) {
  return StartRunEndpoint(listen, std::make_shared<RunMetrics>("m", absl::UnixEpoch()));
}

TEST(RunEndpointTest, TellsThePortThatItGot) {
  const auto endpoint = Start("127.0.0.1:0");
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const std::string url = (*endpoint)->url();
  EXPECT_TRUE(absl::StartsWith(url, "http://127.0.0.1:")) << url;
  EXPECT_TRUE(absl::EndsWith(url, "/metrics")) << url;
  EXPECT_FALSE(absl::EndsWith(url, ":0/metrics")) << url;
}

TEST(RunEndpointTest, ATakenPortIsNamed) {
  const auto first = Start("127.0.0.1:0");
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string url = (*first)->url();
  absl::string_view address = url;
  ASSERT_TRUE(absl::ConsumePrefix(&address, "http://"));
  ASSERT_TRUE(absl::ConsumeSuffix(&address, "/metrics"));
  const auto second = Start(std::string(address));
  ASSERT_EQ(second.status().code(), absl::StatusCode::kUnavailable) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(std::string(address)));
}

TEST(RunEndpointTest, WhatIsNoAddressIsNamed) {
  for (const char* listen : {"9465", ":9465", "host:", "host:port", "host:65536", "host:-1",
                             "::1:9465", "127.0.0.1:1,127.0.0.1:2", "a b:1"}) {
    const auto endpoint = Start(listen);
    ASSERT_EQ(endpoint.status().code(), absl::StatusCode::kInvalidArgument) << listen;
    EXPECT_THAT(std::string(endpoint.status().message()),
                HasSubstr(absl::StrCat("\"", listen, "\"")));
  }
}

}  // namespace
}  // namespace quantd::client
