// What happens between SIGTERM and exit.
#pragma once

#include <functional>

#include "absl/time/time.h"
#include "server/lifecycle/signals.h"
#include "workers/core/clock.h"

namespace quantd {

// The server, as far as a shutdown is concerned. Each is called at most once, from one thread,
// `running_jobs` as often as needed.
struct DrainSteps {
  std::function<void()> refuse_new;      // health NOT_SERVING; new and waiting jobs UNAVAILABLE
  std::function<int()> running_jobs;     // how many still run
  std::function<void()> cancel_running;  // with UNAVAILABLE
  std::function<void(absl::Duration)>
      shutdown;  // closes the transport; returns within about that time
};

enum class DrainEnd { kIdle, kDeadline, kForced };
const char* DrainEndName(DrainEnd end);  // "idle", "deadline", "forced"

// refuse_new, then wait until nothing runs, `limit` has passed or a second signal arrives; in the
// last two cases cancel_running; then shutdown.
DrainEnd Drain(const DrainSteps& steps, absl::Duration limit, const Clock& clock,
               SignalSource* signals);

}  // namespace quantd
