// How a session ends and what it leaves behind.
#include <utility>

#include "server/session/session.h"

namespace quantd {
namespace {

absl::StatusCode TokenCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnavailable:
      return status.code();
    default:
      return absl::StatusCode::kCancelled;
  }
}

}  // namespace

void Session::End(absl::Status status, std::optional<int64_t> pushback_ms, Effects* fx) {
  if (state_ == SessionState::kEnded) return;
  state_ = SessionState::kEnded;
  cancel_.Cancel(TokenCode(status));
  status_ = std::move(status);
  pushback_ms_ = pushback_ms;
  progress_.reset();
  fx->cancel_ticket = std::exchange(ticket_, std::nullopt);
  fx->header = std::exchange(header_, std::nullopt);
  fx->inbox = std::exchange(inbox_, {});
  fx->outbox = std::exchange(outbox_, {});
  fx->states = states_.Take();
  next_state_at_.store(kNever, std::memory_order_relaxed);
  inbox_cost_ = 0;
  outbox_cost_ = 0;
  ReleaseIfIdle(fx);
}

// A task that runs uses the job's memory: it comes here again when it returns.
void Session::ReleaseIfIdle(Effects* fx) {
  if (state_ != SessionState::kEnded || working_ > 0 || released_ || fx->released) return;
  fx->released = true;
  fx->grant = std::move(grant_);
  if (job_ != nullptr) fx->job = std::move(job_);
  if (assembler_ != nullptr) fx->assembler = std::move(assembler_);
  if (results_) fx->results = std::exchange(results_, std::nullopt);
}

JobEvent Session::MakeEvent() {
  JobEvent event;
  event.job_id = job_id_;
  event.rpc = rpc_;
  event.method = method_;
  event.layout = layout_;
  event.weight_names = weight_names_;
  event.trace_parent = info_.trace_parent;
  event.peer = info_.peer;
  event.status = status_;
  event.refused = refused_;
  event.bytes_in = bytes_in_;
  event.bytes_out = bytes_out_;
  event.predicted_peak_bytes = cost_.peak_bytes;
  event.predicted_seconds = resumed_ ? 0 : cost_.seconds;
  if (status_.ok()) {
    event.outcome = report_.outcome();
    event.weights = weight_elements_;
  }
  event.report = std::move(report_);
  if (event.report.seconds.total == 0) {
    event.report.seconds.total = absl::ToDoubleSeconds(deps_->clock->Now() - header_at_);
  }
  return event;
}

}  // namespace quantd
