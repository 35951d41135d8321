#include "client/lib/retry.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace quantd::client {

RetryState::RetryState(const RetryPolicy& policy, std::function<double()> uniform)
    : policy_(policy), uniform_(std::move(uniform)) {}

absl::Duration RetryState::Backoff() {
  const double nominal = std::min(
      absl::ToDoubleSeconds(policy_.longest_delay),
      absl::ToDoubleSeconds(policy_.first_delay) * std::pow(policy_.multiplier, counted_ - 1));
  return absl::Seconds(nominal * (1.0 + policy_.jitter * (2.0 * uniform_() - 1.0)));
}

std::optional<absl::Duration> RetryState::Next(const AttemptFailure& failure) {
  ++attempts_;
  if (failure.advanced) {
    counted_ = 0;
    waited_ = absl::ZeroDuration();
    data_lost_ = false;
    sent_elsewhere_ = false;
  }
  if (failure.pushback && *failure.pushback < absl::ZeroDuration()) return std::nullopt;
  switch (failure.status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
      break;
    case absl::StatusCode::kResourceExhausted:
      if (!failure.pushback) return std::nullopt;
      break;
    case absl::StatusCode::kDataLoss:
      if (data_lost_) return std::nullopt;
      data_lost_ = true;
      break;
    case absl::StatusCode::kDeadlineExceeded:
      if (!failure.advanced) return std::nullopt;
      break;
    default:
      return std::nullopt;
  }
  const bool elsewhere = failure.pushback == absl::ZeroDuration();
  const bool again = std::exchange(sent_elsewhere_, elsewhere) && elsewhere;
  if (failure.pushback && !again) return failure.pushback;
  if (++counted_ >= policy_.max_attempts) return std::nullopt;
  const absl::Duration delay = Backoff();
  if (waited_ + delay > policy_.give_up_after) return std::nullopt;
  waited_ += delay;
  return delay;
}

}  // namespace quantd::client
