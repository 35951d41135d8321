#include "server/telemetry/metrics.h"

#include <map>
#include <utility>

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
  std::map<std::string, Counter*> jobs;
  Counter* weights = nullptr;
  Histogram* sqnr = nullptr;
  Histogram* output_error = nullptr;
};

}  // namespace

struct Metrics::Series : public prometheus::Collectable {
  Series(const BuildInfo& build, const std::vector<std::string>& methods,
         std::shared_ptr<JsonLog> json_log)
      : log(std::move(json_log)) {
    AddFamily(prometheus::BuildGauge(), metric::kBuildInfo, &registry)
        .Add({{"version", build.version}, {"blas", build.blas}, {"cpu", build.cpu}})
        .Set(1);
    AddGauge(metric::kStartTime, &registry)
        .Set(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
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
    AddMethods(methods);
  }

  void AddMethods(const std::vector<std::string>& methods) {
    auto& jobs = AddFamily(prometheus::BuildCounter(), metric::kJobs, &registry);
    auto& weights = AddFamily(prometheus::BuildCounter(), metric::kWeightsQuantized, &registry);
    auto& sqnr = AddFamily(prometheus::BuildHistogram(), metric::kSqnr, &registry);
    auto& error = AddFamily(prometheus::BuildHistogram(), metric::kOutputError, &registry);
    std::vector<std::string> names = methods;
    names.push_back(kUnknown);
    for (const std::string& name : names) {
      MethodSeries& one = by_method[name];
      for (const char* outcome : kOutcomes) {
        one.jobs[outcome] = &jobs.Add({{"method", name}, {"outcome", outcome}});
      }
      one.weights = &weights.Add({{"method", name}});
      one.sqnr = &sqnr.Add({{"method", name}}, kSqnrBuckets);
      one.output_error = &error.Add({{"method", name}}, kErrorBuckets);
    }
  }

  MethodSeries& Method(const std::string& name) {
    const auto it = by_method.find(name);
    return it == by_method.end() ? by_method.at(kUnknown) : it->second;
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    resident.Set(static_cast<double>(ResidentBytes()));
    if (log != nullptr) {
      absl::MutexLock lock(&dropped_mutex);
      const double now = static_cast<double>(log->dropped());
      if (now > log_dropped.Value()) log_dropped.Increment(now - log_dropped.Value());
    }
    return registry.Collect();
  }

  std::shared_ptr<JsonLog> log;
  mutable absl::Mutex dropped_mutex;  // two scrapes at once must not count the same lines twice
  prometheus::Registry registry;
  std::map<RejectReason, Counter*> rejects;
  std::map<std::string, MethodSeries> by_method;  // fixed after construction
  Histogram* upload;
  Histogram* queue;
  Histogram* prepare;
  Histogram* solve;
  Histogram* measure;
  Histogram* total;
  Counter& bytes_in = AddCounter(metric::kBytesReceived, &registry);
  Counter& bytes_out = AddCounter(metric::kBytesSent, &registry);
  Counter& log_dropped = AddCounter(metric::kLogDropped, &registry);
  Gauge& queue_jobs = AddGauge(metric::kQueueJobs, &registry);
  Gauge& queue_bytes = AddGauge(metric::kQueueBytes, &registry);
  Gauge& pool_busy = AddGauge(metric::kPoolBusy, &registry);
  Gauge& pool_threads = AddGauge(metric::kPoolThreads, &registry);
  Gauge& budget = AddGauge(metric::kBudget, &registry);
  Gauge& reserved = AddGauge(metric::kBudgetReserved, &registry);
  Gauge& resident = AddGauge(metric::kResidentMemory, &registry);
  Histogram& queue_wait = AddFamily(prometheus::BuildHistogram(), metric::kQueueWait, &registry)
                              .Add({}, kSecondsBuckets);
};

Metrics::Metrics(const BuildInfo& build, const std::vector<std::string>& methods,
                 std::shared_ptr<JsonLog> log)
    : series_(std::make_shared<Series>(build, methods, log)), log_(std::move(log)) {}

Metrics::~Metrics() = default;

std::shared_ptr<prometheus::Collectable> Metrics::collectable() const { return series_; }

void Metrics::OnReject(RejectReason reason, const std::string&) {
  const auto it = series_->rejects.find(reason);
  if (it != series_->rejects.end()) it->second->Increment();
}

void Metrics::OnJobDone(const JobEvent& event) {
  MethodSeries& method = series_->Method(event.method);
  method.jobs.at(JobOutcomeName(event))->Increment();
  series_->bytes_in.Increment(static_cast<double>(event.bytes_in));
  series_->bytes_out.Increment(static_cast<double>(event.bytes_out));
  if (event.status.ok()) {
    method.weights->Increment(static_cast<double>(event.weights));
    const StageSeconds& seconds = event.report.seconds;
    series_->upload->Observe(seconds.upload);
    series_->queue->Observe(seconds.queue);
    series_->prepare->Observe(seconds.prepare);
    series_->solve->Observe(seconds.solve);
    series_->measure->Observe(seconds.measure);
    series_->total->Observe(seconds.total);
    series_->queue_wait.Observe(seconds.queue);
    for (const TensorReport& tensor : event.report.tensors) {
      if (tensor.outcome == Outcome::kRejected) continue;
      method.sqnr->Observe(tensor.error.sqnr_db);
      if (tensor.error.output_relative_error.has_value()) {
        method.output_error->Observe(*tensor.error.output_relative_error);
      }
    }
  }
  if (log_ != nullptr && log_->enabled(LogLevel::kInfo)) {
    log_->Write(event.status.ok() ? LogLevel::kInfo : LogLevel::kWarning, "job",
                JobLogFields(event));
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
  series_->pool_busy.Set(busy_threads);
  series_->pool_threads.Set(threads);
}

}  // namespace quantd
