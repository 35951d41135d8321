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

std::string ProgressDisplay::LineLocked(absl::Time now) const {
  const double seconds = std::max(1e-3, absl::ToDoubleSeconds(now - start_));
  const double share = total_bytes_ == 0 ? 1.0 : static_cast<double>(bytes_) / total_bytes_;
  std::string line;
  if (terminal_) {
    const int filled = static_cast<int>(share * kBarWidth);
    absl::StrAppend(&line, "[", std::string(filled, '='), std::string(kBarWidth - filled, ' '),
                    "] ");
  }
  absl::StrAppend(&line, tensors_, "/", total_tensors_, " tensors",
                  absl::StrFormat("  %.3f GB/s", bytes_ / seconds / 1e9));
  if (bytes_ > 0 && bytes_ < total_bytes_) {
    const double left = seconds * (total_bytes_ - bytes_) / bytes_;
    absl::StrAppend(&line, "  ETA ", HumanSeconds(left));
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
  const absl::Duration pause = terminal_ ? absl::Milliseconds(100) : absl::Seconds(5);
  if (tensors_ >= total_tensors_ || now - drawn_ >= pause) Draw(now);
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
