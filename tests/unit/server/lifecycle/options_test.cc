#include "server/options.h"

#include "workers/core/buffer.h"

#include <stdlib.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quantd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

CommandLine Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "quantd");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~ScopedEnv() { unsetenv(name_); }

 private:
  const char* name_;
};

TEST(OptionsTest, DefaultsAreLoopbackOnly) {
  const CommandLine line = Parse({});
  ASSERT_FALSE(line.done) << line.text;
  EXPECT_THAT(line.options.listen, ElementsAre("127.0.0.1:50051"));
  EXPECT_EQ(line.options.metrics_listen, "127.0.0.1:9464");
  EXPECT_EQ(line.options.drain_time, absl::Seconds(25));
  EXPECT_EQ(line.options.max_job_time, absl::Hours(24));
  EXPECT_FALSE(line.options.reflection);
}

TEST(OptionsTest, TheVersionIsToldWhateverElseIsWrong) {
  const ScopedEnv listen("QUANTD_LISTEN", "0.0.0.0:50051");  // refused without TLS or --insecure
  EXPECT_TRUE(Parse({"--version"}).version);
  EXPECT_FALSE(Parse({"--version"}).done);
}

TEST(OptionsTest, ABudgetAboveTheMemoryLimitIsRefused) {
  EXPECT_TRUE(CheckBudget(0, 100).ok());
  EXPECT_TRUE(CheckBudget(100, 100).ok());
  EXPECT_TRUE(CheckBudget(200, 0).ok()) << "the limit is unknown";
  const absl::Status status = CheckBudget(200, 100);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("200 bytes, but"));
}

TEST(OptionsTest, HealthIsASubcommandOfItsOwn) {
  EXPECT_FALSE(Parse({}).health.has_value());
  const CommandLine plain = Parse({"health"});
  ASSERT_TRUE(plain.health.has_value()) << plain.text;
  EXPECT_FALSE(plain.done);
  EXPECT_EQ(plain.health->target, "127.0.0.1:50052");
  EXPECT_EQ(plain.health->service, "quantd.v1.QuantizationService");
  EXPECT_EQ(plain.health->timeout, absl::Seconds(2));
  const CommandLine full =
      Parse({"health", "10.0.0.7:1", "--service", "liveness", "--timeout", "0.5"});
  ASSERT_TRUE(full.health.has_value()) << full.text;
  EXPECT_EQ(full.health->target, "10.0.0.7:1");
  EXPECT_EQ(full.health->service, "liveness");
  EXPECT_EQ(full.health->timeout, absl::Milliseconds(500));
  EXPECT_EQ(Parse({"health", "--timeout", "never"}).exit_code, 2);
}

TEST(OptionsTest, HealthOfAContainerAsksWhateverTheServerIsToldToServe) {
  const ScopedEnv listen("QUANTD_LISTEN", "0.0.0.0:50051");  // refused without TLS or --insecure
  EXPECT_TRUE(Parse({"health"}).health.has_value());
}

TEST(OptionsTest, HealthAsksWhereTheServerOfTheSameEnvironmentListens) {
  const ScopedEnv listen("QUANTD_HEALTH_LISTEN", "0.0.0.0:7001");
  EXPECT_EQ(Parse({"health"}).health->target, "127.0.0.1:7001");
  EXPECT_EQ(Parse({"health", "[::]:5"}).health->target, "[::1]:5");
  EXPECT_EQ(Parse({"health", "10.0.0.7:5"}).health->target, "10.0.0.7:5");
}

TEST(OptionsTest, TheHealthPortIsOffOrAnAddress) {
  EXPECT_EQ(Parse({}).options.health_listen, "off");
  EXPECT_EQ(Parse({"--health-listen", "0.0.0.0:50052"}).options.health_listen, "0.0.0.0:50052");
  const CommandLine bad = Parse({"--health-listen", "nowhere"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.text, HasSubstr("--health-listen: \"nowhere\""));
}

TEST(OptionsTest, ReadsEveryKindOfValue) {
  const CommandLine line =
      Parse({"--listen", "localhost:0", "--listen", "unix:/tmp/q", "--budget", "2GiB", "--threads",
             "3", "--queue-timeout", "1.5", "--reflection", "--log-level", "debug",
             "--max-queued-bytes", "512M", "--metrics-listen", "off"});
  ASSERT_FALSE(line.done) << line.text;
  EXPECT_THAT(line.options.listen, ElementsAre("localhost:0", "unix:/tmp/q"));
  EXPECT_EQ(line.options.budget_bytes, uint64_t{2} << 30);
  EXPECT_EQ(line.options.max_queued_bytes, uint64_t{512} << 20);
  EXPECT_EQ(line.options.threads, 3);
  EXPECT_EQ(line.options.queue_timeout, absl::Milliseconds(1500));
  EXPECT_TRUE(line.options.reflection);
  EXPECT_EQ(line.options.log_level, LogLevel::kDebug);
}

TEST(OptionsTest, TheEnvironmentCountsWhereTheCommandLineIsSilent) {
  const ScopedEnv listen("QUANTD_LISTEN", "127.0.0.1:1,127.0.0.1:2");
  const ScopedEnv budget("QUANTD_BUDGET", "64MiB");
  const ScopedEnv reflection("QUANTD_REFLECTION", "true");
  const ScopedEnv threads("QUANTD_THREADS", "5");
  const CommandLine line = Parse({"--threads", "2"});
  ASSERT_FALSE(line.done) << line.text;
  EXPECT_THAT(line.options.listen, ElementsAre("127.0.0.1:1", "127.0.0.1:2"));
  EXPECT_EQ(line.options.budget_bytes, uint64_t{64} << 20);
  EXPECT_TRUE(line.options.reflection);
  EXPECT_EQ(line.options.threads, 2);
}

TEST(OptionsTest, EveryOptionHasAnEnvironmentName) {
  const CommandLine line = Parse({"--help"});
  EXPECT_TRUE(line.done);
  EXPECT_EQ(line.exit_code, 0);
  for (const char* name : {"LISTEN",          "INSECURE",         "TLS_CERT",
                           "TLS_KEY",         "TLS_CLIENT_CA",    "METRICS_LISTEN",
                           "BUDGET",          "TRANSPORT_BUDGET", "THREADS",
                           "MAX_QUEUED_JOBS", "MAX_QUEUED_BYTES", "QUEUE_TIMEOUT",
                           "MAX_JOB_SECONDS", "DRAIN_SECONDS",    "MAX_CONNECTION_AGE",
                           "MAX_STREAMS",     "LOOKAHEAD",        "REFLECTION",
                           "LOG_LEVEL",       "PORT_FILE"}) {
    EXPECT_THAT(line.text, HasSubstr(std::string("QUANTD_") + name));
  }
}

TEST(OptionsTest, AReachableAddressNeedsTlsOrInsecure) {
  for (const char* address :
       {"0.0.0.0:50051", "[::]:50051", "10.0.0.1:50051", "quantd:50051", "127.example.com:50051"}) {
    const CommandLine refused = Parse({"--listen", address});
    EXPECT_EQ(refused.exit_code, 2) << address;
    EXPECT_THAT(refused.text, HasSubstr(address));
    EXPECT_THAT(refused.text, HasSubstr("--insecure"));
    EXPECT_FALSE(Parse({"--listen", address, "--insecure"}).done) << address;
    EXPECT_FALSE(Parse({"--listen", address, "--tls-cert", "c", "--tls-key", "k"}).done) << address;
  }
}

TEST(OptionsTest, LoopbackIsRecognised) {
  for (const char* address :
       {"127.0.0.1:1", "127.8.9.10:1", "localhost:1", "[::1]:1", "unix:/run/quantd.sock"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address : {"126.0.0.1:1", "127.0.0:1", "127.0.0.1.2:1", "127.0.0.300:1",
                              "0.0.0.0:1", "[::]:1", "localhost", ":1"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

TEST(OptionsTest, MistakesEndWithTwoAndNameTheValue) {
  const std::vector<std::vector<const char*>> mistakes = {
      {"--listen", "localhost:99999"},
      {"--listen", "nowhere"},
      {"--metrics-listen", "9464"},
      {"--tls-cert", "c"},
      {"--tls-client-ca", "c"},
      {"--log-level", "loud"},
      {"--threads", "-1"},
      {"--budget", "much"},
      {"--no-such-option"},
      {"--tls-cert", "c", "--tls-key", "k", "--insecure"}};
  for (const auto& arguments : mistakes) {
    const CommandLine line = Parse(arguments);
    EXPECT_TRUE(line.done) << arguments[0];
    EXPECT_EQ(line.exit_code, 2) << arguments[0];
    EXPECT_THAT(line.text, HasSubstr(std::string(arguments[0]).substr(2))) << line.text;
  }
}

TEST(OptionsTest, TheDefaultBudgetLeavesRoomForTheTransport) {
  ServerOptions options;
  const uint64_t gib = uint64_t{1} << 30;
  EXPECT_EQ(ResolveTransport(options), uint64_t{64 * 6 + 64} << 20);
  EXPECT_EQ(ResolveBudget(options, 16 * gib),
            12 * gib - ResolveTransport(options) - Buffer::kKeptBytes);
  EXPECT_EQ(ResolveBudget(options, gib / 2), gib / 16) << "a small machine keeps an eighth";
  EXPECT_GT(ResolveBudget(options, 0), 0u);
  options.max_streams = 1;
  options.max_queued_jobs = 1;
  EXPECT_EQ(ResolveTransport(options), gib / 4) << "never below 256 MiB";
  options.budget_bytes = 12345;
  EXPECT_EQ(ResolveBudget(options, 16 * gib), 12345u);
}

}  // namespace
}  // namespace quantd
