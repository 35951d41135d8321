#include "server/telemetry/history.h"

#include <algorithm>
#include <cmath>

namespace quantd {
namespace {

int64_t IndexOf(absl::Time time) { return (time - absl::UnixEpoch()) / History::kStep; }

}  // namespace

History::Step& History::At(absl::Time now) {
  const int64_t index = IndexOf(now);
  if (steps_.empty() || index - newest_ >= kSteps) {
    steps_.assign(1, Step());
    newest_ = index;
  }
  // A clock that was set back adds to the newest step.
  for (; newest_ < index; ++newest_) steps_.emplace_back();
  while (steps_.size() > static_cast<size_t>(kSteps)) steps_.pop_front();
  return steps_.back();
}

void History::AddJob(absl::Time now, double weights, double bytes) {
  Step& step = At(now);
  step.weights += weights;
  step.bytes += bytes;
}

void History::AddError(absl::Time now, double relative_error) {
  if (!(relative_error > 0)) return;
  Step& step = At(now);
  step.log10_error += std::log10(relative_error);
  ++step.errors;
}

void History::Sample(absl::Time now, double backlog_seconds, double busy_share) {
  Step& step = At(now);
  step.backlog_seconds = std::max(step.backlog_seconds, backlog_seconds);
  step.busy_share += (busy_share - step.busy_share) / static_cast<double>(++step.samples);
}

std::deque<History::Step> History::Read(absl::Time now) const {
  std::deque<Step> steps = steps_;
  const int64_t late = steps.empty() ? 0 : std::max<int64_t>(0, IndexOf(now) - newest_);
  for (int64_t i = 0; i < std::min<int64_t>(late, kSteps); ++i) steps.emplace_back();
  while (steps.size() > static_cast<size_t>(kSteps)) steps.pop_front();
  while (steps.size() < static_cast<size_t>(kSteps)) steps.emplace_front();
  return steps;
}

}  // namespace quantd
