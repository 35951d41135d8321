// A pool that runs closures only when told to, in the caller's thread: no threads, no sleeping.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantd::testing {

class PuppetPool {
 public:
  void Submit(int priority, std::function<void()> work) {
    absl::MutexLock lock(&mutex_);
    work_.push_back(std::move(work));
    last_priority_ = priority;
  }
  // False when there is nothing to run.
  bool RunOne() {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_);
      if (work_.empty()) return false;
      work = std::move(work_.front());
      work_.pop_front();
    }
    work();
    return true;
  }
  size_t waiting() const {
    absl::MutexLock lock(&mutex_);
    return work_.size();
  }
  int last_priority() const {
    absl::MutexLock lock(&mutex_);
    return last_priority_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::deque<std::function<void()>> work_ ABSL_GUARDED_BY(mutex_);
  int last_priority_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quantd::testing
