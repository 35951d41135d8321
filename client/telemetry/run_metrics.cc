#include "client/telemetry/run_metrics.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/string_view.h"
#include "client/telemetry/metric_table.h"
#include "prometheus/client_metric.h"
#include "prometheus/metric_family.h"
#include "workers/core/job.h"

namespace quantd::client {

// Families in the making, in the order in which they are first named.
class RunMetrics::Families {
 public:
  explicit Families(const std::string& model) : model_(model) {}

  // A series of the model, with one more label where `label` is not null.
  void Add(const MetricDef& def, double value, const char* label = nullptr,
           const std::string& label_value = "") {
    prometheus::ClientMetric metric;
    metric.label.push_back({"model", model_});
    if (label != nullptr) metric.label.push_back({label, label_value});
    prometheus::MetricFamily& family = Of(def);
    if (family.type == prometheus::MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family.metric.push_back(std::move(metric));
  }

  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  prometheus::MetricFamily& Of(const MetricDef& def) {
    for (prometheus::MetricFamily& family : families_) {
      if (family.name == def.name) return family;
    }
    families_.push_back({def.name,
                         def.help,
                         absl::string_view(def.type) == "counter" ? prometheus::MetricType::Counter
                                                                  : prometheus::MetricType::Gauge,
                         {}});
    return families_.back();
  }

  const std::string& model_;
  std::vector<prometheus::MetricFamily> families_;
};

RunMetrics::RunMetrics(std::string model, absl::Time start)
    : model_(std::move(model)), start_(start) {}

void RunMetrics::Plan(int layers, uint64_t weights, Eta eta) {
  absl::MutexLock lock(&mutex_);
  planned_ = true;
  layers_ = layers;
  weights_ = weights;
  eta_ = std::move(eta);
}

void RunMetrics::Begun(int job, int layers) {
  absl::MutexLock lock(&mutex_);
  running_[job] = layers;
}

void RunMetrics::Again(int job) {
  absl::MutexLock lock(&mutex_);
  running_.erase(job);
  ++retries_;
}

void RunMetrics::Finished(int job, const TensorReport& report) {
  absl::MutexLock lock(&mutex_);
  const auto it = running_.find(job);
  if (it != running_.end() && --it->second == 0) running_.erase(it);
  if (report.outcome == Outcome::kRejected) {
    ++rejected_;
    return;
  }
  ++(report.outcome == Outcome::kDegraded ? degraded_ : done_);
  weights_done_ += static_cast<uint64_t>(report.rows) * static_cast<uint64_t>(report.cols);
  KeepIfBad(report);
}

void RunMetrics::Failed(int job) {
  absl::MutexLock lock(&mutex_);
  const auto it = running_.find(job);
  if (it == running_.end()) return;
  failed_ += it->second;
  running_.erase(it);
}

void RunMetrics::Close() {
  absl::MutexLock lock(&mutex_);
  running_.clear();
  eta_ = nullptr;
}

int RunMetrics::running() const {
  int layers = 0;
  for (const auto& [job, count] : running_) layers += count;
  return layers;
}

void RunMetrics::KeepIfBad(const TensorReport& report) {
  const ErrorMeasures& error = report.error;
  double rank = error.relative_error();
  if (std::isnan(rank)) rank = std::numeric_limits<double>::infinity();  // nothing is worse
  worst_.emplace(rank, Layer{ModuleName(report.name), error.output_relative_error,
                             error.weight_relative_error, report.all_in_bits_per_weight});
  if (worst_.size() > kWorstLayers) worst_.erase(worst_.begin());
}

void RunMetrics::AddLayers(Families* families) const {
  const int in_work = running();
  const std::pair<const char*, int> states[] = {
      {"waiting", layers_ - in_work - finished() - failed_},
      {"running", in_work},
      {"done", done_},
      {"degraded", degraded_},
      {"rejected", rejected_},
      {"failed", failed_}};
  for (const auto& [state, count] : states) families->Add(metric::kLayers, count, "state", state);
  families->Add(metric::kWeights, static_cast<double>(weights_));
  families->Add(metric::kWeightsDone, static_cast<double>(weights_done_));
  for (auto it = worst_.rbegin(); it != worst_.rend(); ++it) {
    const Layer& layer = it->second;
    if (layer.output_error) {
      families->Add(metric::kOutputError, *layer.output_error, "layer", layer.name);
    }
    families->Add(metric::kWeightError, layer.weight_error, "layer", layer.name);
    families->Add(metric::kLayerBits, layer.bits_per_weight, "layer", layer.name);
  }
}

std::vector<prometheus::MetricFamily> RunMetrics::Collect() const {
  Eta eta;
  {
    absl::MutexLock lock(&mutex_);
    eta = eta_;
  }
  // Not under the lock: it belongs to somebody else.
  std::optional<double> left;
  if (eta) left = eta();

  Families families(model_);
  absl::MutexLock lock(&mutex_);
  families.Add(metric::kStartTime, absl::ToDoubleSeconds(start_ - absl::UnixEpoch()));
  families.Add(metric::kRetries, static_cast<double>(retries_));
  if (!planned_) return families.Take();
  if (finished() == layers_) left = 0;
  if (left) families.Add(metric::kEta, *left);
  AddLayers(&families);
  return families.Take();
}

}  // namespace quantd::client
