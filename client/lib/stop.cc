#include "client/lib/stop.h"

#include <utility>

namespace quantd::client {

void StopSource::Stop() {
  absl::MutexLock lock(&mutex_);
  if (woken_) return;
  woken_ = true;
  stopped_.store(true, std::memory_order_release);
  for (auto& [id, fn] : functions_) fn();
}

bool StopSource::WaitFor(absl::Duration duration) const {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&woken_), duration);
}

int StopSource::Register(std::function<void()> fn) {
  absl::MutexLock lock(&mutex_);
  const int id = next_id_++;
  if (woken_) fn();
  functions_.emplace(id, std::move(fn));
  return id;
}

void StopSource::Unregister(int id) {
  absl::MutexLock lock(&mutex_);
  functions_.erase(id);
}

}  // namespace quantd::client
