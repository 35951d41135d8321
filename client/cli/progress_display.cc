#include "client/cli/progress_display.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/text_table.h"

namespace quantd::cli {
namespace {

constexpr int kBarWidth = 24;
constexpr char kClearLine[] = "\r\x1b[K";
constexpr absl::Duration kRedraw = absl::Milliseconds(100);

}  // namespace

ProgressDisplay::ProgressDisplay(std::ostream* out, bool terminal, int total_tensors,
                                 uint64_t total_bytes, std::function<absl::Time()> now)
    : out_(out),
      terminal_(terminal),
      total_tensors_(total_tensors),
      total_bytes_(total_bytes),
      now_(std::move(now)),
      start_(now_()),
      drawn_(start_) {}

std::string ProgressDisplay::Line() const {
  absl::MutexLock lock(&mutex_);
  return LineLocked(now_());
}

std::optional<double> ProgressDisplay::EtaSeconds() const {
  absl::MutexLock lock(&mutex_);
  return PaceLocked(now_()).eta;
}

ProgressDisplay::Pace ProgressDisplay::PaceLocked(absl::Time now) const {
  const double seconds = std::max(1e-3, absl::ToDoubleSeconds(now - start_));
  double solved = static_cast<double>(bytes_);
  double paced = solved;  // in this run
  double eta = 0;         // at least what the servers say of single jobs
  for (const auto& [job, solve] : solves_) {
    solved += solve.bytes * solve.last.fraction;
    paced += solve.bytes * std::max(0.0, solve.last.fraction - solve.from);
    eta = std::max(eta, solve.last.eta_seconds);
  }
  if (paced > 0) eta = std::max(eta, seconds * (total_bytes_ - solved) / paced);
  Pace pace = {solved, paced / seconds, std::nullopt};
  if (eta > 0 && bytes_ < total_bytes_) pace.eta = eta;
  return pace;
}

std::string ProgressDisplay::LineLocked(absl::Time now) const {
  const Pace pace = PaceLocked(now);
  const double share = total_bytes_ == 0 ? 1.0 : std::min(1.0, pace.solved / total_bytes_);
  std::string line;
  if (terminal_) {
    const int filled = static_cast<int>(share * kBarWidth);
    absl::StrAppend(&line, "[", std::string(filled, '='), std::string(kBarWidth - filled, ' '),
                    "] ");
  }
  absl::StrAppend(&line, tensors_, "/", total_tensors_, " tensors",
                  absl::StrFormat("  %.3f GB/s", pace.per_second / 1e9));
  if (pace.eta) absl::StrAppend(&line, "  ETA ", HumanSeconds(*pace.eta));
  for (const auto& [job, solve] : solves_) {
    if (!solve.last.round) continue;
    absl::StrAppend(&line, "  round ", solve.last.round->round,
                    absl::StrFormat(", loss %.3g", solve.last.round->relative_loss));
    break;  // one that stays the same while it works
  }
  return line;
}

void ProgressDisplay::Draw(absl::Time now) {
  drawn_ = now;
  if (terminal_) {
    *out_ << kClearLine << LineLocked(now) << std::flush;
    bar_ = true;
  } else {
    *out_ << LineLocked(now) << "\n" << std::flush;
  }
}

void ProgressDisplay::Done(int tensors, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  tensors_ += tensors;
  bytes_ += bytes;
  const absl::Time now = now_();
  const absl::Duration pause = terminal_ ? kRedraw : absl::Seconds(5);
  if (tensors_ >= total_tensors_ || now - drawn_ >= pause) Draw(now);
}

void ProgressDisplay::Solving(int job, uint64_t bytes, const wire::ProgressFrame& progress) {
  absl::MutexLock lock(&mutex_);
  const auto [it, fresh] = solves_.try_emplace(job);
  if (fresh) it->second.from = progress.fraction;
  it->second.bytes = bytes;
  it->second.last = progress;
  const absl::Time now = now_();
  // A log of a run of hours should stay readable.
  const absl::Duration pause = terminal_ ? kRedraw : absl::Seconds(30);
  if (now - drawn_ >= pause) Draw(now);
}

void ProgressDisplay::Over(int job) {
  absl::MutexLock lock(&mutex_);
  solves_.erase(job);
}

void ProgressDisplay::Say(const std::string& line) {
  absl::MutexLock lock(&mutex_);
  if (bar_) *out_ << kClearLine;
  bar_ = false;
  *out_ << line << "\n" << std::flush;
  if (terminal_) Draw(now_());
}

void ProgressDisplay::Close() {
  absl::MutexLock lock(&mutex_);
  if (bar_) *out_ << "\n" << std::flush;
  bar_ = false;
}

}  // namespace quantd::cli
