// One JSON object a line on stderr.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "nlohmann/json_fwd.hpp"

namespace quantd {

enum class LogLevel : uint8_t { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3, kOff = 4 };

absl::string_view LogLevelName(LogLevel level);               // "debug", "info", ...
bool ParseLogLevel(absl::string_view text, LogLevel* level);  // false: unknown name

// Writes lines from a thread of its own: whoever logs may be a gRPC reaction, and a stderr that
// nobody drains must never stall one. At most `kMaxPending` lines wait; beyond that lines are
// dropped and counted. Thread-safe.
class JsonLog {
 public:
  static constexpr size_t kMaxPending = 4096;

  // `write` receives whole lines with their newline, from one thread; the default is stderr.
  explicit JsonLog(LogLevel level, std::function<void(const std::string&)> write = nullptr);
  ~JsonLog();  // writes what waits

  bool enabled(LogLevel level) const { return level >= level_; }

  // Adds ts (UTC, RFC 3339, microseconds), level and event to the object `fields`. Text that is not
  // UTF-8 is repaired, never refused.
  void Write(LogLevel level, absl::string_view event, const nlohmann::json& fields);

  // Returns when every line written before the call has been handed to `write`.
  void Flush();

  uint64_t dropped() const;

 private:
  void Run();

  const LogLevel level_;
  const std::function<void(const std::string&)> write_;
  mutable absl::Mutex mutex_;
  std::deque<std::string> pending_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace quantd
