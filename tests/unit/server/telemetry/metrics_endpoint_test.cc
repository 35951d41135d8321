#include "server/telemetry/metrics_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/telemetry/metrics.h"

namespace quantd {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string Ask(int port, const std::string& method, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request = absl::StrCat(
        method, " ", path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    if (write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
      char buffer[4096];
      for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;) answer.append(buffer, n);
    }
  }
  close(fd);
  return answer;
}

std::string Get(int port, const std::string& path) { return Ask(port, "GET", path); }

TEST(MetricsEndpointTest, ServesPagesBesideMetrics) {
  Metrics metrics({"1", "b", "c"}, {"rtn"}, nullptr);
  const auto endpoint = StartMetricsEndpoint(
      "127.0.0.1:0", metrics.collectable(), [](const std::string& path) -> std::optional<WebPage> {
        if (path != "/") return std::nullopt;
        return WebPage{"text/html; charset=utf-8", "<p>hello</p>"};
      });
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const int port = (*endpoint)->port();
  const std::string page = Get(port, "/");
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(page, HasSubstr("Content-Type: text/html; charset=utf-8\r\n"));
  EXPECT_THAT(page, HasSubstr("Content-Length: 12\r\n"));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, testing::EndsWith("\r\n\r\n<p>hello</p>"));
  EXPECT_THAT(Get(port, "/?x=1"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Get(port, "/metrics"), HasSubstr("quantd_build_info"));
  EXPECT_THAT(Get(port, "/other"), StartsWith("HTTP/1.1 404"));
  const std::string head = Ask(port, "HEAD", "/");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(head, testing::Not(HasSubstr("hello")));
  EXPECT_THAT(Ask(port, "POST", "/metrics"), testing::Not(HasSubstr("quantd_build_info")));
}

TEST(MetricsEndpointTest, IdleConnectionsDoNotHoldUpAScrape) {
  Metrics metrics({"1", "b", "c"}, {"rtn"}, nullptr);
  const auto endpoint = StartMetricsEndpoint("127.0.0.1:0", metrics.collectable());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  std::vector<int> idle;
  for (int i = 0; i < 4; ++i) {
    idle.push_back(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>((*endpoint)->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(idle.back(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  // None of them has been given up yet: a read would say so.
  const std::string answer = Get((*endpoint)->port(), "/metrics");
  EXPECT_THAT(answer, HasSubstr("quantd_build_info"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  for (const int fd : idle) {
    char byte = 0;
    EXPECT_EQ(recv(fd, &byte, 1, MSG_DONTWAIT), -1) << "still open, and nothing said";
    close(fd);
  }
}

TEST(MetricsEndpointTest, APageThatThrowsIsAnErrorAndNoMore) {
  Metrics metrics({"1", "b", "c"}, {"rtn"}, nullptr);
  const auto endpoint = StartMetricsEndpoint(
      "127.0.0.1:0", metrics.collectable(),
      [](const std::string&) -> std::optional<WebPage> { throw std::runtime_error("no page"); });
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_THAT(Get((*endpoint)->port(), "/"), StartsWith("HTTP/1.1 500"));
  EXPECT_THAT(Get((*endpoint)->port(), "/metrics"), StartsWith("HTTP/1.1 200"));
}

TEST(MetricsEndpointTest, ServesMetricsAndNothingElse) {
  Metrics metrics({"1", "b", "c"}, {"rtn"}, nullptr);
  const auto endpoint = StartMetricsEndpoint("127.0.0.1:0", metrics.collectable());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const int port = (*endpoint)->port();
  ASSERT_GT(port, 0);
  const std::string answer = Get(port, "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("quantd_build_info"));
  EXPECT_THAT(Get(port, "/"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Get(port, "/etc/passwd"), StartsWith("HTTP/1.1 404"));
}

TEST(MetricsEndpointTest, ATakenPortIsAClearError) {
  Metrics metrics({"1", "b", "c"}, {"rtn"}, nullptr);
  const auto first = StartMetricsEndpoint("127.0.0.1:0", metrics.collectable());
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string address = absl::StrCat("127.0.0.1:", (*first)->port());
  const auto second = StartMetricsEndpoint(address, metrics.collectable());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
}

}  // namespace
}  // namespace quantd
