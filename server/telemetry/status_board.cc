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

}  // namespace

StatusBoard::StatusBoard(const ServerFacts& facts, const Clock* clock)
    : facts_(facts), clock_(clock), started_(clock->Now()) {}

void StatusBoard::OnReject(RejectReason reason, const std::string&) {
  absl::MutexLock lock(&mutex_);
  ++state_.rejects[std::string(RejectReasonName(reason))];
}

void StatusBoard::OnJobDone(const JobEvent& event) {
  if (event.refused) return;  // counted by OnReject
  const absl::Time now = clock_->Now();
  Ended ended = EndOf(event, now);
  absl::MutexLock lock(&mutex_);
  ++state_.outcomes[ended.outcome];
  state_.weights += event.weights;
  state_.history.AddJob(now, static_cast<double>(event.weights),
                        static_cast<double>(event.bytes_in + event.bytes_out));
  if (event.status.ok()) {
    for (const TensorReport& tensor : event.report.tensors) {
      if (tensor.outcome != Outcome::kRejected) {
        state_.history.AddError(now, tensor.error.relative_error());
      }
    }
  }
  state_.recent.push_front(std::move(ended));
  if (state_.recent.size() > kRecent) state_.recent.pop_back();
}

void StatusBoard::OnQueue(int64_t waiting_jobs, uint64_t waiting_bytes) {
  absl::MutexLock lock(&mutex_);
  state_.waiting_jobs = waiting_jobs;
  state_.waiting_bytes = waiting_bytes;
}

void StatusBoard::OnBudget(uint64_t reserved_bytes, uint64_t budget_bytes) {
  absl::MutexLock lock(&mutex_);
  state_.reserved_bytes = reserved_bytes;
  state_.budget_bytes = budget_bytes;
}

void StatusBoard::OnPool(int busy_threads, int threads) {
  absl::MutexLock lock(&mutex_);
  state_.busy_threads = busy_threads;
  state_.threads = threads;
}

void StatusBoard::OnLive(const std::vector<LiveJob>& jobs) {
  double backlog = 0;
  for (const LiveJob& job : jobs) backlog += job.backlog_seconds;
  std::vector<LiveJob> live = jobs;  // the old ones go after the lock
  absl::MutexLock lock(&mutex_);
  state_.live.swap(live);
  const double busy =
      state_.threads == 0 ? 0 : static_cast<double>(state_.busy_threads) / state_.threads;
  state_.history.Sample(clock_->Now(), backlog, busy);
}

void StatusBoard::OnDrain() {
  absl::MutexLock lock(&mutex_);
  state_.draining = true;
}

void StatusBoard::OnCertificate(absl::Time not_after) {
  absl::MutexLock lock(&mutex_);
  state_.certificate_end = not_after;
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
  ended.elements = event.weights;
  ended.seconds = event.report.seconds.total;
  if (!event.status.ok()) return ended;
  double bits = 0;
  int measured = 0;
  for (const TensorReport& tensor : event.report.tensors) {
    if (tensor.outcome == Outcome::kRejected) continue;
    const double error = tensor.error.relative_error();
    if (error >= 0) ended.error = std::max(ended.error.value_or(0), error);
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
      {"at", UnixSeconds(ended.at)}, {"job_id", ended.job_id},     {"rpc", ended.rpc},
      {"method", ended.method},      {"outcome", ended.outcome},   {"reason", ended.reason},
      {"weights", ended.weights},    {"elements", ended.elements}, {"seconds", ended.seconds}};
  json["error"] = ended.error ? nlohmann::json(*ended.error) : nlohmann::json();
  json["bits"] = ended.bits ? nlohmann::json(*ended.bits) : nlohmann::json();
  return json;
}

nlohmann::json StatusBoard::HistoryJson(const History& history, absl::Time now) {
  const double step = absl::ToDoubleSeconds(History::kStep);
  nlohmann::json weights = nlohmann::json::array(), bytes = weights, backlog = weights,
                 busy = weights, error = weights;
  for (const History::Step& one : history.Read(now)) {
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
  State state;
  {
    absl::MutexLock lock(&mutex_);
    state = state_;
  }
  nlohmann::json live = nlohmann::json::array(), recent = live;
  std::vector<const LiveJob*> oldest;
  oldest.reserve(state.live.size());
  for (const LiveJob& job : state.live) oldest.push_back(&job);
  std::stable_sort(oldest.begin(), oldest.end(), [](const LiveJob* a, const LiveJob* b) {
    return a->age_seconds > b->age_seconds;
  });
  if (oldest.size() > kShownLive) oldest.resize(kShownLive);
  for (const LiveJob* job : oldest) live.push_back(LiveJson(*job));
  for (const Ended& ended : state.recent) recent.push_back(EndedJson(ended));
  nlohmann::json status = {
      {"version", facts_.version},
      {"revision", facts_.revision},
      {"cpu", facts_.cpu},
      {"blas", facts_.blas},
      {"now", UnixSeconds(now)},
      {"started", UnixSeconds(started_)},
      {"draining", state.draining},
      {"threads", state.threads},
      {"busy_threads", state.busy_threads},
      {"queue_jobs", state.waiting_jobs},
      {"queue_bytes", state.waiting_bytes},
      {"budget_bytes", state.budget_bytes},
      {"budget_reserved_bytes", state.reserved_bytes},
      {"memory_limit_bytes", facts_.memory_limit_bytes},
      {"resident_bytes", ResidentBytes()},
      {"weights", state.weights},
      {"outcomes", state.outcomes},
      {"rejects", state.rejects},
      {"live_jobs", state.live.size()},
      {"live", live},
      {"recent", recent},
      {"history", HistoryJson(state.history, now)},
  };
  status["certificate_end"] = state.certificate_end
                                  ? nlohmann::json(UnixSeconds(*state.certificate_end))
                                  : nlohmann::json();
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
