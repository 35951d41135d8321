// What happens because time passes: timeouts and progress.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/session/session.h"

namespace quantd {
namespace {

uint64_t PackProgress(Phase phase, double fraction) {
  const float value = static_cast<float>(fraction);
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return uint64_t{static_cast<uint8_t>(phase)} << 32 | bits;
}

Phase PackedPhase(uint64_t packed) { return static_cast<Phase>(packed >> 32); }

double PackedFraction(uint64_t packed) {
  const uint32_t bits = static_cast<uint32_t>(packed);
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace

void Session::OnProgress(Phase phase, double fraction) {
  job_progress_.store(PackProgress(phase, fraction), std::memory_order_relaxed);
}

void Session::OnRound(int weight, int round, double relative_loss) {
  // A weight of zeros has no relative loss, and readers refuse what is no number.
  if (!(relative_loss >= 0)) return;
  absl::MutexLock lock(&mutex_);
  round_ = {static_cast<uint32_t>(weight), static_cast<uint32_t>(round), relative_loss};
}

void Session::Tick() {
  Effects fx;
  {
    absl::MutexLock lock(&mutex_);
    if (finished_) return;
    const absl::Time now = deps_->clock->Now();
    if (absl::Status status = CheckTimeouts(now); !status.ok()) {
      End(std::move(status), std::nullopt, &fx);
    }
    if (writing_ && now - write_since_ > options_.write_timeout && !aborted_) {
      aborted_ = true;
      say_abort_ = true;
    }
    MakeProgress(now);
  }
  Apply(std::move(fx));
}

absl::Status Session::CheckTimeouts(absl::Time now) const {
  if (now >= deadline_) return absl::DeadlineExceededError("the call's deadline passed");
  if (state_ == SessionState::kHeader && now - created_ > options_.header_timeout) {
    return absl::DeadlineExceededError(
        absl::StrCat("no header within ", absl::FormatDuration(options_.header_timeout)));
  }
  if (state_ == SessionState::kUploading && grammar_ == Grammar::kChunks && !reads_paused_ &&
      now - upload_progress_ > options_.upload_timeout) {
    return absl::DeadlineExceededError(
        absl::StrCat("the upload stalls: ", since_progress_, " bytes within ",
                     absl::FormatDuration(options_.upload_timeout), ", at least ",
                     options_.upload_progress_bytes, " or the end are expected"));
  }
  if (writing_ && now - write_since_ > options_.write_timeout) {
    return absl::DeadlineExceededError(absl::StrCat("the client has not read a response for ",
                                                    absl::FormatDuration(options_.write_timeout)));
  }
  return absl::OkStatus();
}

void Session::MakeProgress(absl::Time now) {
  if (!accepted_) return;
  if (state_ != SessionState::kQueued && state_ != SessionState::kUploading &&
      state_ != SessionState::kRunning) {
    return;
  }
  const wire::ProgressFrame frame = ProgressNow(now);
  const auto round_of = [](const wire::ProgressFrame& of) {
    return of.round ? std::make_pair(of.round->weight, of.round->round) : std::make_pair(0u, 0u);
  };
  const bool changed = frame.phase != last_progress_.phase ||
                       frame.fraction != last_progress_.fraction ||
                       round_of(frame) != round_of(last_progress_);
  const absl::Duration since = now - last_progress_at_;
  if (since < options_.progress_max_interval &&
      !(changed && since >= options_.progress_min_interval)) {
    return;
  }
  progress_ = frame;
  last_progress_ = frame;
  last_progress_at_ = now;
}

wire::ProgressFrame Session::ProgressNow(absl::Time now) {
  wire::ProgressFrame frame;
  frame.phase = Phase::kQueued;  // for memory, or for a worker
  if (state_ == SessionState::kUploading) {
    frame.phase = Phase::kUploading;
    const double done = static_cast<double>(uploaded_);
    const double left = static_cast<double>(cost_.input_bytes) - done;
    frame.fraction = cost_.input_bytes == 0 ? 0 : std::min(1.0, done / cost_.input_bytes);
    frame.eta_seconds = cost_.seconds;
    if (done > 0 && left > 0) {
      frame.eta_seconds += absl::ToDoubleSeconds(now - admitted_at_) * left / done;
    }
  } else if (state_ == SessionState::kRunning && run_at_) {
    const uint64_t packed = job_progress_.load(std::memory_order_relaxed);
    frame.phase = std::max(PackedPhase(packed), Phase::kPreparing);
    frame.fraction = PackedFraction(packed);
    frame.round = round_;
    frame.eta_seconds = frame.phase == Phase::kSolving
                            ? SecondsLeft(frame.fraction, now)
                            : std::max(0.0, cost_.seconds - absl::ToDoubleSeconds(now - *run_at_));
  }
  return frame;
}

std::optional<LiveJob> Session::Live() {
  absl::MutexLock lock(&mutex_);
  LiveJob job;
  switch (state_) {
    case SessionState::kHeader:
    case SessionState::kAdmitting:
    case SessionState::kEnded:
      return std::nullopt;
    case SessionState::kQueued:
      job.stage = LiveStage::kQueued;
      break;
    case SessionState::kUploading:
      job.stage = LiveStage::kUploading;
      break;
    case SessionState::kRunning:
      job.stage = run_at_ ? LiveStage::kRunning : LiveStage::kWaiting;
      break;
    case SessionState::kSending:
      job.stage = LiveStage::kSending;
      break;
  }
  const absl::Time now = deps_->clock->Now();
  job.job_id = job_id_;
  job.rpc = rpc_;
  job.method = method_;
  job.layout = layout_;
  job.weights = weight_names_;
  job.age_seconds = absl::ToDoubleSeconds(now - header_at_);
  job.stalled_seconds = absl::ToDoubleSeconds(Stalled(now));
  job.predicted_peak_bytes = cost_.peak_bytes;
  job.bytes_in = bytes_in_;
  job.bytes_out = bytes_out_;
  if (job.stage == LiveStage::kSending) {
    job.phase = Phase::kSending;
    return job;
  }
  const wire::ProgressFrame progress = ProgressNow(now);
  job.phase = progress.phase;
  job.fraction = progress.fraction;
  job.eta_seconds = progress.eta_seconds;
  // Not the ETA: that of a running job is slower for those beside it, and would count them, too.
  const bool solves = progress.phase == Phase::kSolving;
  job.backlog_seconds = cost_.seconds * (solves ? 1 - progress.fraction : 1);
  return job;
}

// A stream waits for its client when an upload brings nothing although we read, and when a response
// is not taken.
absl::Duration Session::Stalled(absl::Time now) const {
  if (writing_) return now - write_since_;
  const bool hungry = state_ == SessionState::kUploading && grammar_ == Grammar::kChunks &&
                      inbox_cost_ == 0 && !reads_paused_;
  return hungry ? now - std::max(admitted_at_, last_chunk_at_) : absl::ZeroDuration();
}

// Of a job that solves: first the prediction, counted down, then more and more what the solver's
// own pace says, which alone is believed after a fifth of the work and where the prediction has run
// out.
double Session::SecondsLeft(double fraction, absl::Time now) {
  constexpr double kEvidence = 0.2;
  if (!pace_) pace_ = Pace{now, fraction};
  const double elapsed = absl::ToDoubleSeconds(now - pace_->since);
  const double done = fraction - pace_->from;
  const double predicted =
      std::max(0.0, cost_.seconds * (1 - pace_->from) - absl::ToDoubleSeconds(now - *run_at_));
  if (done <= 0) return predicted;
  const double paced = elapsed * (1 - fraction) / done;
  const double trust = predicted == 0 ? 1.0 : std::min(1.0, done / kEvidence);
  return trust * paced + (1 - trust) * predicted;
}

}  // namespace quantd
