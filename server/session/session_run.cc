// Job::Run in the compute pool.
#include <utility>

#include "server/session/guarded.h"
#include "server/session/session.h"

namespace quantd {

RunContext Session::Context() {
  RunContext context;
  context.executor = deps_->executor;
  context.cancel = &cancel_;
  context.progress = this;
  if (next_state_at_.load(std::memory_order_relaxed) != kNever) context.states = this;
  return context;
}

void Session::ScheduleState(absl::Time now) {
  if (state_interval_ > absl::ZeroDuration()) {
    next_state_at_.store(absl::ToUnixNanos(now + state_interval_), std::memory_order_relaxed);
  }
}

bool Session::Due() {
  return !state_midway_.load(std::memory_order_relaxed) &&
         absl::ToUnixNanos(deps_->clock->Now()) >= next_state_at_.load(std::memory_order_relaxed);
}

void Session::Save(std::string state) {
  {
    absl::MutexLock lock(&mutex_);
    // After a cancel nobody will read it.
    if (state_ != SessionState::kRunning || state_interval_ == absl::ZeroDuration()) return;
    state = states_.Put(std::move(state));
    ScheduleState(deps_->clock->Now());
  }
  std::string().swap(state);
  Apply(Effects());
}

void Session::RunCompute() {
  Job* job = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    if (state_ == SessionState::kEnded) return;
    ++working_;
    run_at_ = deps_->clock->Now();
    ScheduleState(*run_at_);
    job = job_.get();
  }
  absl::StatusOr<JobResult> result =
      Guarded<absl::StatusOr<JobResult>>("running the job", [&] { return job->Run(Context()); });
  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    --working_;
    fx.assembler = std::move(assembler_);
    fx.job = std::move(job_);  // what is left of the inputs
    if (state_ != SessionState::kEnded) {
      if (result.ok()) {
        TakeResult(*std::move(result), deps_->clock->Now(), &fx);
      } else {
        End(result.status(), std::nullopt, &fx);
      }
    } else if (result.ok()) {
      // Nobody wants it: freed with the rest, before the reservation.
      fx.results.emplace(*std::move(result), Role::kPacked, "", options_.chunk_bytes);
    }
    ReleaseIfIdle(&fx);
  }
  Apply(std::move(fx));
}

void Session::TakeResult(JobResult result, absl::Time now, Effects* fx) {
  StageSeconds& seconds = result.report.seconds;
  if (last_chunk_at_ > first_chunk_at_) {
    seconds.upload = absl::ToDoubleSeconds(last_chunk_at_ - first_chunk_at_);
  }
  seconds.queue = absl::ToDoubleSeconds((admitted_at_ - header_at_) + (*run_at_ - submitted_at_));
  seconds.total = absl::ToDoubleSeconds(now - header_at_);
  result.report.predicted_peak_bytes = cost_.peak_bytes;
  report_ = result.report;
  results_.emplace(std::move(result), result_role_, deps_->build_id, options_.chunk_bytes);
  progress_.reset();  // the results speak for themselves
  fx->states = states_.Take();
  next_state_at_.store(kNever, std::memory_order_relaxed);
  state_ = SessionState::kSending;
  PostIngest(fx);
}

}  // namespace quantd
