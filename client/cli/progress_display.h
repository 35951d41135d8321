// How far a run is: a bar that redraws itself on a terminal, now and then a plain line elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace quantd::cli {

// Thread-safe.
class ProgressDisplay {
 public:
  // `total_tensors` and `total_bytes` (of source weights) are the whole run's.
  ProgressDisplay(std::ostream* out, bool terminal, int total_tensors, uint64_t total_bytes,
                  std::function<absl::Time()> now);

  // A finished tensor; draws when it is time to.
  void Done(int tensors, uint64_t bytes);
  // A line of its own, above the bar.
  void Say(const std::string& line);
  // Ends the bar's line.
  void Close();

  // "[=====>    ] 12/48 tensors  1.20 GB/s  ETA 3 min 05 s".
  std::string Line() const;

 private:
  std::string LineLocked(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Draw(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::ostream* const out_;
  const bool terminal_;
  const int total_tensors_;
  const uint64_t total_bytes_;
  const std::function<absl::Time()> now_;
  mutable absl::Mutex mutex_;
  const absl::Time start_;
  absl::Time drawn_ ABSL_GUARDED_BY(mutex_);
  int tensors_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool bar_ ABSL_GUARDED_BY(mutex_) = false;  // the cursor stands behind a bar
};

}  // namespace quantd::cli
