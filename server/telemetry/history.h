// The last half hour in steps of ten seconds, for sparklines.
#pragma once

#include <cstdint>
#include <deque>

#include "absl/time/time.h"

namespace quantd {

// Not thread-safe. Steps are aligned to the epoch; those in which nothing was told hold zeros.
class History {
 public:
  static constexpr absl::Duration kStep = absl::Seconds(10);
  static constexpr int kSteps = 180;

  struct Step {
    double weights = 0;          // elements of jobs that ended well
    double bytes = 0;            // received and sent by jobs that ended
    double backlog_seconds = 0;  // largest seen
    double busy_share = 0;       // of the worker threads, mean of what was seen
    int64_t samples = 0;         // of backlog and busy threads
    double log10_error = 0;      // sum over `errors`
    int64_t errors = 0;          // weights whose relative error is known and above zero
  };

  void AddJob(absl::Time now, double weights, double bytes);
  void AddError(absl::Time now, double relative_error);
  void Sample(absl::Time now, double backlog_seconds, double busy_share);

  // kSteps of them, the last one holding `now`, which lies in no step before the newest.
  std::deque<Step> Read(absl::Time now) const;

 private:
  Step& At(absl::Time now);

  int64_t newest_ = 0;  // index of steps_.back(), counted from the epoch
  std::deque<Step> steps_;
};

}  // namespace quantd
