// When to send a failed job again, and how long to wait: pure logic.
#pragma once

#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantd::client {

struct RetryPolicy {
  int max_attempts = 12;  // attempts that count, the first included; >= 1
  absl::Duration first_delay = absl::Seconds(1);
  absl::Duration longest_delay = absl::Seconds(30);
  double multiplier = 2.0;
  double jitter = 0.2;  // a delay is drawn from [1 - jitter, 1 + jitter] x its nominal value
  // The most time spent waiting between attempts that count. Neither work nor the pushbacks of a
  // busy server do.
  absl::Duration give_up_after = absl::Minutes(30);
};

// Why an attempt ended.
struct AttemptFailure {
  absl::Status status;
  // The server's grpc-retry-pushback-ms: when to come back; negative = never.
  std::optional<absl::Duration> pushback;
  // The attempt brought a state of the job that was kept: the next one goes on from there.
  bool advanced = false;
};

// The attempts of one job. Not thread-safe.
//
// A job is repeated as a whole for: UNAVAILABLE and CANCELLED (by the other side);
// RESOURCE_EXHAUSTED with a pushback, which says "full now" and does not count as an attempt;
// DATA_LOSS, once. A pushback of zero says "elsewhere": the next attempt goes at once, but where it
// meets another zero there is no elsewhere, and it waits as if there were no pushback. Nothing
// else: a request that is wrong stays wrong. Any code with a negative pushback is final. After an
// attempt that advanced, attempts and waiting are counted anew, and DEADLINE_EXCEEDED is repeated,
// too: a job of hours may lose its server more often than one of seconds, and need more than one
// call.
class RetryState {
 public:
  // `uniform` gives numbers in [0, 1).
  RetryState(const RetryPolicy& policy, std::function<double()> uniform);

  // How long to wait before the next attempt; nullopt: the failure is final.
  std::optional<absl::Duration> Next(const AttemptFailure& failure);

  int attempts() const { return attempts_; }  // that failed so far

 private:
  absl::Duration Backoff();

  RetryPolicy policy_;
  std::function<double()> uniform_;
  absl::Duration waited_;
  int attempts_ = 0;
  int counted_ = 0;  // failures without a pushback that was followed
  bool data_lost_ = false;
  bool sent_elsewhere_ = false;  // the last attempt was told so
};

}  // namespace quantd::client
