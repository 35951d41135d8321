#include "server/telemetry/status_board.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "nlohmann/json.hpp"
#include "server/telemetry/job_log.h"
#include "server/telemetry/process_memory.h"
#include "server/telemetry/status_page.h"

namespace quantd {
namespace {

double UnixSeconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

// What the page calls a weight's error: through H where there is one.
double RelativeError(const ErrorMeasures& error) {
  return error.output_relative_error.value_or(error.weight_relative_error);
}

}  // namespace

StatusBoard::StatusBoard(const ServerFacts& facts, const Clock* clock)
    : facts_(facts), clock_(clock), started_(clock->Now()) {}

void StatusBoard::OnReject(RejectReason reason, const std::string&) {
  absl::MutexLock lock(&mutex_);
  ++rejects_[std::string(RejectReasonName(reason))];
}

void StatusBoard::OnJobDone(const JobEvent& event) {
  if (event.refused) return;  // counted by OnReject
  const absl::Time now = clock_->Now();
  Ended ended = EndOf(event, now);
  absl::MutexLock lock(&mutex_);
  ++outcomes_[ended.outcome];
  weights_ += event.weights;
  history_.AddJob(now, static_cast<double>(event.weights),
                  static_cast<double>(event.bytes_in + event.bytes_out));
  if (event.status.ok()) {
    for (const TensorReport& tensor : event.report.tensors) {
      if (tensor.outcome != Outcome::kRejected) {
        history_.AddError(now, RelativeError(tensor.error));
      }
    }
  }
  recent_.push_front(std::move(ended));
  if (recent_.size() > kRecent) recent_.pop_back();
}

void StatusBoard::OnQueue(int64_t waiting_jobs, uint64_t waiting_bytes) {
  absl::MutexLock lock(&mutex_);
  waiting_jobs_ = waiting_jobs;
  waiting_bytes_ = waiting_bytes;
}

void StatusBoard::OnBudget(uint64_t reserved_bytes, uint64_t budget_bytes) {
  absl::MutexLock lock(&mutex_);
  reserved_bytes_ = reserved_bytes;
  budget_bytes_ = budget_bytes;
}

void StatusBoard::OnPool(int busy_threads, int threads) {
  absl::MutexLock lock(&mutex_);
  busy_threads_ = busy_threads;
  threads_ = threads;
}

void StatusBoard::OnLive(const std::vector<LiveJob>& jobs) {
  double backlog = 0;
  for (const LiveJob& job : jobs) backlog += job.backlog_seconds;
  absl::MutexLock lock(&mutex_);
  live_ = jobs;
  const double busy = threads_ == 0 ? 0 : static_cast<double>(busy_threads_) / threads_;
  history_.Sample(clock_->Now(), backlog, busy);
}

void StatusBoard::OnDrain() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
}

void StatusBoard::OnCertificate(absl::Time not_after) {
  absl::MutexLock lock(&mutex_);
  certificate_end_ = not_after;
}

StatusBoard::Ended StatusBoard::EndOf(const JobEvent& event, absl::Time now) {
  Ended ended;
  ended.at = now;
  ended.job_id = event.job_id;
  ended.weights = event.weight_names;
  ended.rpc = event.rpc;
  ended.method = event.method;
  ended.outcome = JobOutcomeName(event);
  ended.reason = JobReason(event);
  ended.peer = event.peer;
  ended.elements = event.weights;
  ended.seconds = event.report.seconds.total;
  if (!event.status.ok()) return ended;
  double bits = 0;
  int measured = 0;
  for (const TensorReport& tensor : event.report.tensors) {
    if (tensor.outcome == Outcome::kRejected) continue;
    ended.error = std::max(ended.error.value_or(0), RelativeError(tensor.error));
    bits += tensor.all_in_bits_per_weight;
    ++measured;
  }
  if (measured > 0) ended.bits = bits / measured;
  return ended;
}

nlohmann::json StatusBoard::LiveJson(const LiveJob& job) {
  return {{"job_id", job.job_id},
          {"rpc", job.rpc},
          {"method", job.method},
          {"layout", job.layout},
          {"weights", job.weights},
          {"peer", job.peer},
          {"stage", LiveStageName(job.stage)},
          {"phase", PhaseName(job.phase)},
          {"fraction", job.fraction},
          {"eta_seconds", job.eta_seconds},
          {"age_seconds", job.age_seconds},
          {"stalled_seconds", job.stalled_seconds},
          {"predicted_peak_bytes", job.predicted_peak_bytes},
          {"bytes_in", job.bytes_in},
          {"bytes_out", job.bytes_out}};
}

nlohmann::json StatusBoard::EndedJson(const Ended& ended) {
  nlohmann::json json = {
      {"at", UnixSeconds(ended.at)}, {"job_id", ended.job_id},   {"rpc", ended.rpc},
      {"method", ended.method},      {"outcome", ended.outcome}, {"reason", ended.reason},
      {"peer", ended.peer},          {"weights", ended.weights}, {"elements", ended.elements},
      {"seconds", ended.seconds}};
  json["error"] = ended.error ? nlohmann::json(*ended.error) : nlohmann::json();
  json["bits"] = ended.bits ? nlohmann::json(*ended.bits) : nlohmann::json();
  return json;
}

nlohmann::json StatusBoard::HistoryJson(absl::Time now) const {
  const double step = absl::ToDoubleSeconds(History::kStep);
  nlohmann::json weights = nlohmann::json::array(), bytes = weights, backlog = weights,
                 busy = weights, error = weights;
  for (const History::Step& one : history_.Read(now)) {
    weights.push_back(one.weights / step);
    bytes.push_back(one.bytes / step);
    backlog.push_back(one.backlog_seconds);
    busy.push_back(one.busy_share);
    error.push_back(one.errors == 0 ? nlohmann::json()
                                    : nlohmann::json(std::pow(
                                          10, one.log10_error / static_cast<double>(one.errors))));
  }
  return {{"step_seconds", step},      {"weights_per_second", weights},
          {"bytes_per_second", bytes}, {"backlog_seconds", backlog},
          {"busy_share", busy},        {"relative_error", error}};
}

nlohmann::json StatusBoard::Status() const {
  const absl::Time now = clock_->Now();
  absl::MutexLock lock(&mutex_);
  nlohmann::json live = nlohmann::json::array(), recent = live;
  std::vector<const LiveJob*> oldest;
  oldest.reserve(live_.size());
  for (const LiveJob& job : live_) oldest.push_back(&job);
  std::stable_sort(oldest.begin(), oldest.end(), [](const LiveJob* a, const LiveJob* b) {
    return a->age_seconds > b->age_seconds;
  });
  if (oldest.size() > kShownLive) oldest.resize(kShownLive);
  for (const LiveJob* job : oldest) live.push_back(LiveJson(*job));
  for (const Ended& ended : recent_) recent.push_back(EndedJson(ended));
  nlohmann::json status = {
      {"version", facts_.version},
      {"revision", facts_.revision},
      {"cpu", facts_.cpu},
      {"blas", facts_.blas},
      {"now", UnixSeconds(now)},
      {"started", UnixSeconds(started_)},
      {"draining", draining_},
      {"threads", threads_},
      {"busy_threads", busy_threads_},
      {"queue_jobs", waiting_jobs_},
      {"queue_bytes", waiting_bytes_},
      {"budget_bytes", budget_bytes_},
      {"budget_reserved_bytes", reserved_bytes_},
      {"memory_limit_bytes", facts_.memory_limit_bytes},
      {"resident_bytes", ResidentBytes()},
      {"weights", weights_},
      {"outcomes", outcomes_},
      {"rejects", rejects_},
      {"live_jobs", live_.size()},
      {"live", live},
      {"recent", recent},
      {"history", HistoryJson(now)},
  };
  status["certificate_end"] =
      certificate_end_ ? nlohmann::json(UnixSeconds(*certificate_end_)) : nlohmann::json();
  return status;
}

std::optional<WebPage> StatusBoard::Page(const std::string& path) const {
  if (path == "/" || path == "/index.html") {
    return WebPage{"text/html; charset=utf-8", kStatusPage};
  }
  if (path == "/status.json") {
    // Names from clients may hold any bytes.
    return WebPage{"application/json",
                   Status().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
  }
  return std::nullopt;
}

}  // namespace quantd
