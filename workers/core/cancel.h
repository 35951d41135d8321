// A flag that work polls: set by cancel, deadline or shutdown.
#pragma once

#include <atomic>

#include "absl/status/status.h"

namespace quantd {

// Set once, from any thread; polled by work at least every 50 ms.
class CancelToken {
 public:
  // The first reason wins. `code` is kCancelled, kDeadlineExceeded or kUnavailable.
  void Cancel(absl::StatusCode code = absl::StatusCode::kCancelled) {
    int expected = 0;
    code_.compare_exchange_strong(expected, static_cast<int>(code), std::memory_order_relaxed);
  }

  bool cancelled() const { return code_.load(std::memory_order_relaxed) != 0; }

  // OK, or the reason as a status.
  absl::Status Check() const {
    const int code = code_.load(std::memory_order_relaxed);
    if (code == 0) return absl::OkStatus();
    return absl::Status(static_cast<absl::StatusCode>(code), "the job was stopped");
  }

 private:
  std::atomic<int> code_{0};
};

}  // namespace quantd
