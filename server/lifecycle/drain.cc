#include "server/lifecycle/drain.h"

#include <algorithm>

namespace quantd {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(50);
// Time for statuses already on their way; streams that outlive it (health watchers) are cut.
constexpr absl::Duration kTransportGrace = absl::Seconds(2);
constexpr absl::Duration kForcedGrace = absl::Milliseconds(200);

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
  steps.shutdown(end == DrainEnd::kForced ? kForcedGrace : kTransportGrace);
  return end;
}

}  // namespace quantd
