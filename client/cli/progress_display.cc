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
                                 client::JobSize total, std::function<absl::Time()> now)
    : out_(out),
      terminal_(terminal),
      total_tensors_(total_tensors),
      total_(total),
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
  double solved = done_.work;
  double paced = solved;  // in this run
  double bytes = static_cast<double>(done_.bytes);
  double eta = 0;  // at least what the servers say of single jobs
  for (const auto& [job, solve] : solves_) {
    const double advance = std::max(0.0, solve.last.fraction - solve.from);
    solved += solve.size.work * solve.last.fraction;
    paced += solve.size.work * advance;
    bytes += solve.size.bytes * advance;
    eta = std::max(eta, solve.last.eta_seconds);
  }
  if (paced > 0) eta = std::max(eta, seconds * (total_.work - solved) / paced);
  Pace pace = {total_.work > 0 ? std::min(1.0, solved / total_.work) : 1.0, bytes / seconds,
               std::nullopt};
  if (eta > 0 && done_.bytes < total_.bytes) pace.eta = eta;
  return pace;
}

std::string ProgressDisplay::LineLocked(absl::Time now) const {
  const Pace pace = PaceLocked(now);
  std::string line;
  if (terminal_) {
    const int filled = static_cast<int>(pace.share * kBarWidth);
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

void ProgressDisplay::Done(int tensors, client::JobSize size) {
  absl::MutexLock lock(&mutex_);
  tensors_ += tensors;
  done_ += size;
  const absl::Time now = now_();
  const absl::Duration pause = terminal_ ? kRedraw : absl::Seconds(5);
  if (tensors_ >= total_tensors_ || now - drawn_ >= pause) Draw(now);
}

void ProgressDisplay::Solving(int job, client::JobSize size, const wire::ProgressFrame& progress) {
  absl::MutexLock lock(&mutex_);
  const auto [it, fresh] = solves_.try_emplace(job);
  if (fresh) it->second.from = progress.fraction;
  it->second.size = size;
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
