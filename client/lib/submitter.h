// Many jobs, a few at a time, each until it succeeds or cannot.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "client/lib/channel.h"
#include "client/lib/job_client.h"
#include "client/lib/retry.h"
#include "client/lib/stop.h"

namespace quantd::client {

struct SubmitOptions {
  int jobs = 2;  // in flight; also the bound on groups held in memory
  RetryPolicy retry;
};

// Runs a list of independent jobs. One object per run; `connection` and `stop` must outlive it.
class Submitter {
 public:
  // What a job of the list does with its attempts: builds the request, calls `client` once and
  // returns the attempt. `attempt` counts from 1 and belongs in the job id.
  using TryJob = std::function<Attempt(int index, int attempt, JobClient* client)>;
  // Takes a finished job's answer; never called by two threads at once, in order of arrival. An
  // error ends the run.
  using TakeAnswer = std::function<absl::Status(int index, JobAnswer answer)>;
  // Told before each wait for another attempt; any thread.
  using OnRetry = std::function<void(int index, const AttemptFailure&, absl::Duration)>;

  Submitter(Connection* connection, SubmitOptions options, StopSource* stop);

  // Jobs 0 .. count - 1. OK when every one was taken. Otherwise the first final error (of a job or
  // of `take`); the others are cancelled and all threads have ended when it returns. CANCELLED when
  // `stop` was stopped from outside.
  absl::Status Run(int count, const TryJob& try_job, const TakeAnswer& take,
                   const OnRetry& on_retry);

  // After Run: the job whose error it returned; nothing when it was OK or stopped from outside.
  std::optional<int> failed_job() const { return failed_job_; }

 private:
  struct Shared;
  void Work(Shared* shared);
  absl::Status RunOne(Shared* shared, int index);

  Connection* connection_;
  SubmitOptions options_;
  StopSource* stop_;
  std::optional<int> failed_job_;
};

}  // namespace quantd::client
