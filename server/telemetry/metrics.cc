#include "server/telemetry/metrics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/telemetry/job_log.h"
#include "server/telemetry/metric_table.h"
#include "server/telemetry/process_memory.h"

namespace quantd {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;

constexpr const char* kUnknown = "unknown";
constexpr const char* kOutcomes[] = {"ok", "degraded", "rejected", "failed", "cancelled"};
constexpr RejectReason kReasons[] = {RejectReason::kInvalid,      RejectReason::kNeverFits,
                                     RejectReason::kQueueJobs,    RejectReason::kQueueBytes,
                                     RejectReason::kQueueTimeout, RejectReason::kDraining};

// What an outcome can be due to; any other cause counts as kOther.
struct OutcomeCauses {
  Outcome outcome;
  const char* name;
  std::vector<OutcomeCause> causes;
};
const OutcomeCauses kOutcomeCauses[] = {
    {Outcome::kOk, "ok", {OutcomeCause::kNone}},
    {Outcome::kDegraded,
     "degraded",
     {OutcomeCause::kDamping, OutcomeCause::kNoFactor, OutcomeCause::kNoSignal,
      OutcomeCause::kOther}},
    {Outcome::kRejected,
     "rejected",
     {OutcomeCause::kNotFinite, OutcomeCause::kScaleRange, OutcomeCause::kPolicy,
      OutcomeCause::kOther}},
};

const Histogram::BucketBoundaries kSecondsBuckets = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 150, 300, 900};
const Histogram::BucketBoundaries kSqnrBuckets = {0,  5,  10, 12.5, 15, 17.5, 20, 22.5,
                                                  25, 30, 35, 40,   45, 50,   60, 80};
const Histogram::BucketBoundaries kErrorBuckets = {1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3,
                                                   0.01, 0.02, 0.05, 0.1,  0.2,  0.5,  1};

template <typename Builder>
auto& AddFamily(Builder builder, const MetricDef& def, prometheus::Registry* registry) {
  return builder.Name(def.name).Help(def.help).Register(*registry);
}

Gauge& AddGauge(const MetricDef& def, prometheus::Registry* registry) {
  return AddFamily(prometheus::BuildGauge(), def, registry).Add({});
}

Counter& AddCounter(const MetricDef& def, prometheus::Registry* registry) {
  return AddFamily(prometheus::BuildCounter(), def, registry).Add({});
}

// The series of one method; made at start-up, so that a dashboard sees zeros and not gaps.
struct MethodSeries {
  std::string name;
  std::map<std::string, Counter*> jobs;
  Counter* weights = nullptr;
  Counter* bytes_in = nullptr;
  Counter* bytes_out = nullptr;
  Counter* predicted_work = nullptr;
  Counter* work = nullptr;
};

// Code bits of a weight as a label: 1 to 8, or "other".
std::string BitsLabel(double code_bits) {
  const double bits = std::ceil(code_bits);
  return bits >= 1 && bits <= 8 ? std::to_string(static_cast<int>(bits)) : "other";
}

}  // namespace

struct Metrics::Series : public prometheus::Collectable {
  Series(const ServerFacts& facts, const std::vector<std::string>& methods,
         std::shared_ptr<JsonLog> json_log, const Clock* the_clock)
      : log(std::move(json_log)), clock(the_clock != nullptr ? the_clock : &system_clock) {
    AddFamily(prometheus::BuildGauge(), metric::kBuildInfo, &registry)
        .Add({{"version", facts.version},
              {"revision", facts.revision},
              {"blas", facts.blas},
              {"cpu", facts.cpu}})
        .Set(1);
    AddGauge(metric::kStartTime, &registry)
        .Set(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
    memory_limit.Set(static_cast<double>(facts.memory_limit_bytes));
    auto& reject_family = AddFamily(prometheus::BuildCounter(), metric::kRejects, &registry);
    for (const RejectReason reason : kReasons) {
      rejects[reason] = &reject_family.Add({{"reason", std::string(RejectReasonName(reason))}});
    }
    auto& stage_family = AddFamily(prometheus::BuildHistogram(), metric::kStageSeconds, &registry);
    const auto stage = [&](const char* name) {
      return &stage_family.Add({{"stage", name}}, kSecondsBuckets);
    };
    upload = stage("upload");
    queue = stage("queue");
    prepare = stage("prepare");
    solve = stage("solve");
    measure = stage("measure");
    total = stage("total");
    AddLiveStages();
    AddOutcomes();
    AddMethods(methods);
  }

  void AddLiveStages() {
    auto& jobs = AddFamily(prometheus::BuildGauge(), metric::kLiveJobs, &registry);
    auto& seconds = AddFamily(prometheus::BuildGauge(), metric::kBacklog, &registry);
    for (const LiveStage stage : kLiveStages) {
      const std::string name(LiveStageName(stage));
      live_jobs[stage] = &jobs.Add({{"stage", name}});
      if (stage != LiveStage::kSending) backlog[stage] = &seconds.Add({{"stage", name}});
    }
  }

  void AddOutcomes() {
    auto& family = AddFamily(prometheus::BuildCounter(), metric::kWeightOutcomes, &registry);
    for (const OutcomeCauses& one : kOutcomeCauses) {
      for (const OutcomeCause cause : one.causes) {
        weight_outcomes[{one.outcome, cause}] =
            &family.Add({{"outcome", one.name}, {"reason", std::string(OutcomeCauseName(cause))}});
      }
    }
  }

  void CountOutcome(const TensorReport& tensor) {
    auto it = weight_outcomes.find({tensor.outcome, tensor.cause});
    if (it == weight_outcomes.end()) {
      it = weight_outcomes.find({tensor.outcome, OutcomeCause::kOther});
    }
    if (it != weight_outcomes.end()) it->second->Increment();
  }

  // Series of method and bits come with their first weight; both labels are closed sets.
  void ObserveErrors(const MethodSeries& method, const TensorReport& tensor) {
    const prometheus::Labels labels = {{"method", method.name},
                                       {"bits", BitsLabel(tensor.code_bits_per_weight)}};
    sqnr.Add(labels, kSqnrBuckets).Observe(tensor.error.sqnr_db);
    if (tensor.error.output_relative_error.has_value()) {
      output_error.Add(labels, kErrorBuckets).Observe(*tensor.error.output_relative_error);
    }
  }

  void AddMethods(const std::vector<std::string>& methods) {
    auto& jobs = AddFamily(prometheus::BuildCounter(), metric::kJobs, &registry);
    auto& weights = AddFamily(prometheus::BuildCounter(), metric::kWeightsQuantized, &registry);
    auto& received = AddFamily(prometheus::BuildCounter(), metric::kBytesReceived, &registry);
    auto& sent = AddFamily(prometheus::BuildCounter(), metric::kBytesSent, &registry);
    auto& predicted = AddFamily(prometheus::BuildCounter(), metric::kPredictedWork, &registry);
    auto& work = AddFamily(prometheus::BuildCounter(), metric::kWork, &registry);
    std::vector<std::string> names = methods;
    names.push_back(kUnknown);
    for (const std::string& name : names) {
      MethodSeries& one = by_method[name];
      for (const char* outcome : kOutcomes) {
        one.jobs[outcome] = &jobs.Add({{"method", name}, {"outcome", outcome}});
      }
      one.name = name;
      one.weights = &weights.Add({{"method", name}});
      one.bytes_in = &received.Add({{"method", name}});
      one.bytes_out = &sent.Add({{"method", name}});
      one.predicted_work = &predicted.Add({{"method", name}});
      one.work = &work.Add({{"method", name}});
    }
  }

  MethodSeries& Method(const std::string& name) {
    const auto it = by_method.find(name);
    return it == by_method.end() ? by_method.at(kUnknown) : it->second;
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    resident.Set(static_cast<double>(ResidentBytes()));
    CountBusySeconds(std::nullopt);
    if (log != nullptr) {
      absl::MutexLock lock(&dropped_mutex);
      const double now = static_cast<double>(log->dropped());
      if (now > log_dropped.Value()) log_dropped.Increment(now - log_dropped.Value());
    }
    return registry.Collect();
  }

  // Up to now as many threads as before; from now on `busy`, where it is told.
  void CountBusySeconds(std::optional<int> busy) const {
    absl::MutexLock lock(&busy_mutex);
    const absl::Time now = clock->Now();
    if (now > busy_since) {
      pool_busy_seconds.Increment(absl::ToDoubleSeconds(now - busy_since) * busy_now);
    }
    busy_since = now;
    busy_now = busy.value_or(busy_now);
  }

  std::shared_ptr<JsonLog> log;
  SystemClock system_clock;
  const Clock* const clock;
  mutable absl::Mutex busy_mutex;
  mutable absl::Time busy_since ABSL_GUARDED_BY(busy_mutex) = absl::InfiniteFuture();
  mutable int busy_now ABSL_GUARDED_BY(busy_mutex) = 0;
  mutable absl::Mutex dropped_mutex;  // two scrapes at once must not count the same lines twice
  prometheus::Registry registry;
  std::map<RejectReason, Counter*> rejects;
  std::map<LiveStage, Gauge*> live_jobs;
  std::map<LiveStage, Gauge*> backlog;
  std::map<std::pair<Outcome, OutcomeCause>, Counter*> weight_outcomes;
  std::map<std::string, MethodSeries> by_method;  // fixed after construction
  Histogram* upload;
  Histogram* queue;
  Histogram* prepare;
  Histogram* solve;
  Histogram* measure;
  Histogram* total;
  Counter& log_dropped = AddCounter(metric::kLogDropped, &registry);
  Gauge& queue_jobs = AddGauge(metric::kQueueJobs, &registry);
  Gauge& queue_bytes = AddGauge(metric::kQueueBytes, &registry);
  Gauge& pool_busy = AddGauge(metric::kPoolBusy, &registry);
  Counter& pool_busy_seconds = AddCounter(metric::kPoolBusySeconds, &registry);
  Gauge& pool_threads = AddGauge(metric::kPoolThreads, &registry);
  Gauge& budget = AddGauge(metric::kBudget, &registry);
  Gauge& reserved = AddGauge(metric::kBudgetReserved, &registry);
  Gauge& memory_limit = AddGauge(metric::kMemoryLimit, &registry);
  Gauge& draining = AddGauge(metric::kDraining, &registry);
  Gauge& oldest_stall = AddGauge(metric::kOldestStall, &registry);
  // Without a certificate it has no series.
  Family<Gauge>& certificate_expiry =
      AddFamily(prometheus::BuildGauge(), metric::kCertificateExpiry, &registry);
  Family<Histogram>& sqnr = AddFamily(prometheus::BuildHistogram(), metric::kSqnr, &registry);
  Family<Histogram>& output_error =
      AddFamily(prometheus::BuildHistogram(), metric::kOutputError, &registry);
  Gauge& resident = AddGauge(metric::kResidentMemory, &registry);
  Histogram& queue_wait = AddFamily(prometheus::BuildHistogram(), metric::kQueueWait, &registry)
                              .Add({}, kSecondsBuckets);
};

Metrics::Metrics(const ServerFacts& facts, const std::vector<std::string>& methods,
                 std::shared_ptr<JsonLog> log, const Clock* clock)
    : series_(std::make_shared<Series>(facts, methods, log, clock)), log_(std::move(log)) {}

Metrics::~Metrics() = default;

std::shared_ptr<prometheus::Collectable> Metrics::collectable() const { return series_; }

void Metrics::OnReject(RejectReason reason, const std::string&) {
  const auto it = series_->rejects.find(reason);
  if (it != series_->rejects.end()) it->second->Increment();
}

void Metrics::OnJobDone(const JobEvent& event) {
  if (!event.refused) Count(event);
  if (log_ != nullptr && log_->enabled(LogLevel::kInfo)) {
    const bool expected = event.status.ok() || event.refused;
    log_->Write(expected ? LogLevel::kInfo : LogLevel::kWarning, "job", JobLogFields(event));
  }
}

// A refused job is no finished one: it is counted as a reject, and may come back many times.
void Metrics::Count(const JobEvent& event) {
  MethodSeries& method = series_->Method(event.method);
  method.jobs.at(JobOutcomeName(event))->Increment();
  method.bytes_in->Increment(static_cast<double>(event.bytes_in));
  method.bytes_out->Increment(static_cast<double>(event.bytes_out));
  if (event.status.ok()) {
    method.weights->Increment(static_cast<double>(event.weights));
    const StageSeconds& seconds = event.report.seconds;
    if (event.predicted_seconds > 0) {
      method.predicted_work->Increment(event.predicted_seconds);
      method.work->Increment(seconds.prepare + seconds.solve + seconds.measure);
    }
    series_->upload->Observe(seconds.upload);
    series_->queue->Observe(seconds.queue);
    series_->prepare->Observe(seconds.prepare);
    series_->solve->Observe(seconds.solve);
    series_->measure->Observe(seconds.measure);
    series_->total->Observe(seconds.total);
    series_->queue_wait.Observe(seconds.queue);
    for (const TensorReport& tensor : event.report.tensors) {
      series_->CountOutcome(tensor);
      if (tensor.outcome != Outcome::kRejected) series_->ObserveErrors(method, tensor);
    }
  }
}

void Metrics::OnQueue(int64_t waiting_jobs, uint64_t waiting_bytes) {
  series_->queue_jobs.Set(static_cast<double>(waiting_jobs));
  series_->queue_bytes.Set(static_cast<double>(waiting_bytes));
}

void Metrics::OnBudget(uint64_t reserved_bytes, uint64_t budget_bytes) {
  series_->reserved.Set(static_cast<double>(reserved_bytes));
  series_->budget.Set(static_cast<double>(budget_bytes));
}

void Metrics::OnPool(int busy_threads, int threads) {
  series_->CountBusySeconds(busy_threads);
  series_->pool_busy.Set(busy_threads);
  series_->pool_threads.Set(threads);
}

void Metrics::OnLive(const std::vector<LiveJob>& jobs) {
  std::map<LiveStage, std::pair<int64_t, double>> sums;
  double oldest = 0;
  for (const LiveJob& job : jobs) {
    auto& [count, seconds] = sums[job.stage];
    ++count;
    seconds += job.backlog_seconds;
    oldest = std::max(oldest, job.stalled_seconds);
  }
  for (const auto& [stage, gauge] : series_->live_jobs) {
    gauge->Set(static_cast<double>(sums[stage].first));
  }
  for (const auto& [stage, gauge] : series_->backlog) gauge->Set(sums[stage].second);
  series_->oldest_stall.Set(oldest);
}

void Metrics::OnDrain() { series_->draining.Set(1); }

void Metrics::OnCertificate(absl::Time not_after) {
  series_->certificate_expiry.Add({}).Set(absl::ToDoubleSeconds(not_after - absl::UnixEpoch()));
}

}  // namespace quantd
