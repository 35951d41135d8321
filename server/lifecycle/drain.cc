#include "server/lifecycle/drain.h"

#include <algorithm>

namespace quantd {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(50);
// Time for statuses already on their way; streams that outlive it are cut: each client keeps one, a
// watch on our health.
constexpr absl::Duration kTransportGrace = absl::Seconds(2);
// Where there is no status to wait for, or no time.
constexpr absl::Duration kShortGrace = absl::Milliseconds(200);

}  // namespace

const char* DrainEndName(DrainEnd end) {
  switch (end) {
    case DrainEnd::kIdle:
      return "idle";
    case DrainEnd::kDeadline:
      return "deadline";
    case DrainEnd::kForced:
      return "forced";
  }
  return "unknown";
}

DrainEnd Drain(const DrainSteps& steps, absl::Duration limit, const Clock& clock,
               SignalSource* signals) {
  const absl::Time deadline = clock.Now() + limit;
  steps.refuse_new();
  DrainEnd end = DrainEnd::kIdle;
  const bool worked = steps.running_jobs() > 0;
  while (steps.running_jobs() > 0) {
    const absl::Duration left = deadline - clock.Now();
    if (left <= absl::ZeroDuration()) {
      end = DrainEnd::kDeadline;
      break;
    }
    if (signals->Wait(std::min(left, kPoll)) != 0) {
      end = DrainEnd::kForced;
      break;
    }
  }
  if (end != DrainEnd::kIdle) steps.cancel_running();
  steps.shutdown(end != DrainEnd::kForced && worked ? kTransportGrace : kShortGrace);
  return end;
}

}  // namespace quantd
