#include "server/telemetry/json_log.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace quantd {
namespace {

constexpr const char* kLevelNames[] = {"debug", "info", "warning", "error", "off"};

void WriteToStderr(const std::string& line) {
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = write(STDERR_FILENO, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // a closed stderr must not end the server
    done += static_cast<size_t>(n);
  }
}

}  // namespace

absl::string_view LogLevelName(LogLevel level) { return kLevelNames[static_cast<int>(level)]; }

bool ParseLogLevel(absl::string_view text, LogLevel* level) {
  for (int i = 0; i <= static_cast<int>(LogLevel::kOff); ++i) {
    if (text == kLevelNames[i]) {
      *level = static_cast<LogLevel>(i);
      return true;
    }
  }
  return false;
}

JsonLog::JsonLog(LogLevel level, std::function<void(const std::string&)> write)
    : level_(level), write_(write ? std::move(write) : WriteToStderr), thread_([this] { Run(); }) {}

JsonLog::~JsonLog() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void JsonLog::Write(LogLevel level, absl::string_view event, const nlohmann::json& fields) {
  if (!enabled(level)) return;
  nlohmann::ordered_json line;
  line["ts"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
  line["level"] = std::string(LogLevelName(level));
  line["event"] = std::string(event);
  for (const auto& [key, value] : fields.items()) line[key] = value;
  std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.push_back('\n');
  absl::MutexLock lock(&mutex_);
  if (pending_.size() >= kMaxPending) {
    ++dropped_;
    return;
  }
  pending_.push_back(std::move(text));
}

void JsonLog::Flush() {
  absl::MutexLock lock(&mutex_);
  const auto written = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return pending_.empty() && !writing_;
  };
  mutex_.Await(absl::Condition(&written));
}

uint64_t JsonLog::dropped() const {
  absl::MutexLock lock(&mutex_);
  return dropped_;
}

void JsonLog::Run() {
  const auto wake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !pending_.empty() || stop_;
  };
  for (;;) {
    std::deque<std::string> batch;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&wake));
      if (pending_.empty()) return;
      batch.swap(pending_);
      writing_ = true;
    }
    for (const std::string& line : batch) write_(line);
    absl::MutexLock lock(&mutex_);
    writing_ = false;
  }
}

}  // namespace quantd
