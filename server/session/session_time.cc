// What happens because time passes: timeouts and progress.
#include <algorithm>
#include <cstring>

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
  const bool changed =
      frame.phase != last_progress_.phase || frame.fraction != last_progress_.fraction;
  const absl::Duration since = now - last_progress_at_;
  if (since < options_.progress_max_interval &&
      !(changed && since >= options_.progress_min_interval)) {
    return;
  }
  progress_ = frame;
  last_progress_ = frame;
  last_progress_at_ = now;
}

wire::ProgressFrame Session::ProgressNow(absl::Time now) const {
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
    const double elapsed = absl::ToDoubleSeconds(now - *run_at_);
    frame.phase = std::max(PackedPhase(packed), Phase::kPreparing);
    frame.fraction = PackedFraction(packed);
    // The prediction as long as it holds, then what the solver's own pace says.
    frame.eta_seconds = std::max(0.0, cost_.seconds - elapsed);
    if (frame.eta_seconds == 0 && frame.phase == Phase::kSolving && frame.fraction > 0) {
      frame.eta_seconds = elapsed * (1 - frame.fraction) / frame.fraction;
    }
  }
  return frame;
}

}  // namespace quantd
