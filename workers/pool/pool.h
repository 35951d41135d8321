// Worker threads. Knows closures, not quantization.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "workers/core/events.h"
#include "workers/core/executor.h"

namespace quantd {

// Threads this process may use: min(CPU affinity, ceil(cgroup CPU quota)), v2 or v1; at least 1.
int AvailableThreads();

// A fixed set of threads that run submitted closures, by priority and then first come first served.
// As an Executor it spreads the items of one closure over idle threads: ParallelFor items of
// running jobs come before new jobs, the calling thread always takes part, so nested use cannot
// deadlock.
class Pool : public Executor {
 public:
  struct Options {
    int threads = 1;
    EventSink* events = nullptr;  // told the number of busy threads; may be null
  };
  explicit Pool(const Options& options);
  ~Pool() override;  // waits for running closures; drops those not begun

  int width() const override;
  void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) override;

  // Runs `work` on some thread. Exceptions that escape it end the process: catch at the edge.
  void Submit(int priority, std::function<void()> work);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quantd
