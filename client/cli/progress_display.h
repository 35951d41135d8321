// How far a run is: a bar that redraws itself on a terminal, now and then a plain line elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <ostream>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/telemetry/run_listener.h"
#include "proto/wire/frames.h"

namespace quantd::cli {

// Thread-safe.
class ProgressDisplay : public client::RunListener {
 public:
  // `total_tensors` and `total_bytes` (of source weights) are the whole run's.
  ProgressDisplay(std::ostream* out, bool terminal, int total_tensors, uint64_t total_bytes,
                  std::function<absl::Time()> now);

  // Finished tensors; draws when it is time to.
  void Done(int tensors, uint64_t bytes) override;
  // Where the solve of job `job` stands, of which `bytes` of source weights are; draws when it is
  // time to. It counts as far as it is until Over().
  void Solving(int job, uint64_t bytes, const wire::ProgressFrame& progress) override;
  // The job's attempt has ended, one way or the other.
  void Over(int job) override;
  // A line of its own, above the bar.
  void Say(const std::string& line);
  // Ends the bar's line.
  void Close() override;

  // Until the last tensor; nothing while there is no telling.
  std::optional<double> EtaSeconds() const;

  // "[=====>    ] 12/48 tensors  1.20 GB/s  ETA 3 min 05 s  round 4, loss 0.0181", the end where a
  // solver goes in rounds.
  std::string Line() const;

 private:
  struct Solve {
    uint64_t bytes = 0;
    double from = 0;  // where it stood when it was first heard of: a resumed one stands far
    wire::ProgressFrame last;
  };

  // How far the run has come.
  struct Pace {
    double solved = 0;      // bytes of source weights
    double per_second = 0;  // of those that were solved in this run
    std::optional<double> eta;
  };

  Pace PaceLocked(absl::Time now) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
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
  std::map<int, Solve> solves_ ABSL_GUARDED_BY(mutex_);  // under way
  bool bar_ ABSL_GUARDED_BY(mutex_) = false;             // the cursor stands behind a bar
};

}  // namespace quantd::cli
