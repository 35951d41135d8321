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
  // `total_tensors` and `total` are the whole run's.
  ProgressDisplay(std::ostream* out, bool terminal, int total_tensors, client::JobSize total,
                  std::function<absl::Time()> now);

  // Finished tensors; draws when it is time to.
  void Done(int tensors, client::JobSize size) override;
  // Where the solve of job `job` stands; draws when it is time to. It counts as far as it is until
  // Over().
  void Solving(int job, client::JobSize size, const wire::ProgressFrame& progress) override;
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
    client::JobSize size;
    double from = 0;  // where it stood when it was first heard of: a resumed one stands far
    wire::ProgressFrame last;
  };

  // How far the run has come.
  struct Pace {
    double share = 0;       // of all work
    double per_second = 0;  // bytes of source weights that were solved in this run
    std::optional<double> eta;
  };

  Pace PaceLocked(absl::Time now) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  std::string LineLocked(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Draw(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::ostream* const out_;
  const bool terminal_;
  const int total_tensors_;
  const client::JobSize total_;
  const std::function<absl::Time()> now_;
  mutable absl::Mutex mutex_;
  const absl::Time start_;
  absl::Time drawn_ ABSL_GUARDED_BY(mutex_);
  int tensors_ ABSL_GUARDED_BY(mutex_) = 0;
  client::JobSize done_ ABSL_GUARDED_BY(mutex_);
  std::map<int, Solve> solves_ ABSL_GUARDED_BY(mutex_);  // under way
  bool bar_ ABSL_GUARDED_BY(mutex_) = false;             // the cursor stands behind a bar
};

}  // namespace quantd::cli
