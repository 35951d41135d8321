// What a run of many jobs tells as it goes, and to whom: the display, the metrics.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/wire/frames.h"
#include "workers/core/report.h"

namespace quantd::client {

// The job of layers that an earlier run finished.
inline constexpr int kEarlierRun = -1;

struct JobSize {
  uint64_t bytes = 0;  // of source weights
  double work = 0;     // predicted seconds, or what goes with them: what the time left is told by

  JobSize& operator+=(const JobSize& other) {
    bytes += other.bytes;
    work += other.work;
    return *this;
  }
};

// Overrides what it wants to know. Called from any thread; must not block for long.
class RunListener {
 public:
  virtual ~RunListener() = default;
  // An attempt of job `job` begins, in which `layers` layers are made.
  virtual void Begun(int /*job*/, int /*layers*/) {}
  // Where the solve of the job stands, which is of that size as a whole.
  virtual void Solving(int /*job*/, JobSize /*size*/, const wire::ProgressFrame& /*progress*/) {}
  // The job's attempt has ended, one way or the other.
  virtual void Over(int /*job*/) {}
  // The attempt came to nothing, and another one will be made.
  virtual void Again(int /*job*/) {}
  // A layer of the job is finished: written, or rejected.
  virtual void Finished(int /*job*/, const TensorReport& /*report*/) {}
  // A job of so many layers and that size is finished.
  virtual void Done(int /*layers*/, JobSize /*size*/) {}
  // The job's error ended the run.
  virtual void Failed(int /*job*/) {}
  // Nothing more will come.
  virtual void Close() {}
};

// The listeners of one run, which outlive it and are all known before it begins.
class RunListeners {
 public:
  void Add(RunListener* listener) { listeners_.push_back(listener); }

  template <typename... Parameters, typename... Facts>
  void Tell(void (RunListener::*event)(Parameters...), const Facts&... facts) const {
    for (RunListener* listener : listeners_) (listener->*event)(facts...);
  }

 private:
  std::vector<RunListener*> listeners_;
};

}  // namespace quantd::client
