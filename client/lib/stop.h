// One switch that ends everything a client does: Ctrl-C, or the first error that no retry can mend.
#pragma once

#include <atomic>
#include <functional>
#include <map>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace quantd::client {

// Thread-safe. Once stopped it stays stopped.
class StopSource {
 public:
  // Wakes every WaitFor and calls every registered function, once. Not for signal handlers: call it
  // from a thread that waits for the signal.
  void Stop();
  bool stopped() const { return stopped_.load(std::memory_order_acquire); }

  // Sleeps for `duration` or until Stop(). True: stopped.
  bool WaitFor(absl::Duration duration) const;

  // `fn` runs on the thread that calls Stop(), at once when already stopped, and must not block.
  int Register(std::function<void()> fn);
  // When it returns, the function is not running and will not run.
  void Unregister(int id);

 private:
  std::atomic<bool> stopped_{false};
  mutable absl::Mutex mutex_;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  int next_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int, std::function<void()>> functions_ ABSL_GUARDED_BY(mutex_);
};

// Registers for the lifetime of a scope.
class StopRegistration {
 public:
  StopRegistration(StopSource* source, std::function<void()> fn)
      : source_(source), id_(source->Register(std::move(fn))) {}
  ~StopRegistration() { source_->Unregister(id_); }
  StopRegistration(const StopRegistration&) = delete;
  StopRegistration& operator=(const StopRegistration&) = delete;

 private:
  StopSource* source_;
  int id_;
};

}  // namespace quantd::client
