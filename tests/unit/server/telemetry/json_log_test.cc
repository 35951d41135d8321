#include "server/telemetry/json_log.h"

#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace quantd {
namespace {

TEST(JsonLogTest, WritesOneParsableLinePerCallInOrder) {
  std::vector<std::string> lines;
  {
    JsonLog log(LogLevel::kInfo, [&](const std::string& line) { lines.push_back(line); });
    log.Write(LogLevel::kInfo, "start", {{"threads", 2}});
    log.Write(LogLevel::kError, "job", {{"job_id", "a\nb"}});
  }
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].back(), '\n');
  const auto first = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(first["level"], "info");
  EXPECT_EQ(first["event"], "start");
  EXPECT_EQ(first["threads"], 2);
  EXPECT_THAT(first["ts"].get<std::string>(),
              testing::MatchesRegex("....-..-..T..:..:..\\.......Z"));
  EXPECT_EQ(lines[1].find('\n'), lines[1].size() - 1) << "a newline in a value must be escaped";
  EXPECT_EQ(nlohmann::json::parse(lines[1])["job_id"], "a\nb");
}

TEST(JsonLogTest, LeavesOutWhatIsBelowTheLevel) {
  int lines = 0;
  {
    JsonLog log(LogLevel::kWarning, [&](const std::string&) { ++lines; });
    log.Write(LogLevel::kInfo, "job", {});
    log.Write(LogLevel::kWarning, "job", {});
  }
  EXPECT_EQ(lines, 1);
}

TEST(JsonLogTest, RepairsTextThatIsNotUtf8) {
  std::string line;
  {
    JsonLog log(LogLevel::kInfo, [&](const std::string& text) { line = text; });
    log.Write(LogLevel::kInfo, "job", {{"traceparent", std::string("\xff\xfe", 2)}});
  }
  EXPECT_TRUE(nlohmann::json::accept(line)) << line;
}

TEST(JsonLogTest, AStalledWriterDropsLinesInsteadOfBlocking) {
  absl::Notification stalled;
  absl::Notification release;
  int lines = 0;
  uint64_t dropped = 0;
  const int extra = 10;
  {
    JsonLog log(LogLevel::kInfo, [&](const std::string&) {
      if (lines++ == 0) {
        stalled.Notify();
        release.WaitForNotification();
      }
    });
    log.Write(LogLevel::kInfo, "first", {});
    stalled.WaitForNotification();
    for (size_t i = 0; i < JsonLog::kMaxPending + extra; ++i) {
      log.Write(LogLevel::kInfo, "more", {});
    }
    dropped = log.dropped();
    release.Notify();
  }
  EXPECT_EQ(dropped, extra);
  EXPECT_EQ(lines, 1 + static_cast<int>(JsonLog::kMaxPending));
}

TEST(JsonLogTest, FlushWaitsForTheWriter) {
  int lines = 0;
  JsonLog log(LogLevel::kInfo, [&](const std::string&) { ++lines; });
  for (int i = 0; i < 100; ++i) log.Write(LogLevel::kInfo, "line", {});
  log.Flush();
  EXPECT_EQ(lines, 100);
}

TEST(JsonLogTest, LevelNamesRoundTrip) {
  for (const char* name : {"debug", "info", "warning", "error", "off"}) {
    LogLevel level;
    ASSERT_TRUE(ParseLogLevel(name, &level)) << name;
    EXPECT_EQ(LogLevelName(level), name);
  }
  LogLevel level;
  EXPECT_FALSE(ParseLogLevel("loud", &level));
}

}  // namespace
}  // namespace quantd
