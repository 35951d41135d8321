// Working memory of threads, handed out for one item of parallel work at a time.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantd {

// Makes as many T as are ever in use at once, and keeps them. Thread-safe.
template <typename T>
class ScratchPool {
 public:
  // One that nobody else uses; its contents are what its last user left.
  std::unique_ptr<T> Take() {
    absl::MutexLock lock(&mutex_);
    if (free_.empty()) return std::make_unique<T>();
    std::unique_ptr<T> scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }
  void Give(std::unique_ptr<T> scratch) {
    absl::MutexLock lock(&mutex_);
    free_.push_back(std::move(scratch));
  }
  // Frees those that are not in use.
  void Clear() {
    absl::MutexLock lock(&mutex_);
    free_.clear();
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<T>> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantd
