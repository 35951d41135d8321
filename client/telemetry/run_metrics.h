// A run as Prometheus metrics: how far it is, and which of its layers are bad.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/telemetry/run_listener.h"
#include "prometheus/collectable.h"
#include "workers/core/report.h"

namespace quantd::client {

// Layers that have series of their own, however many a model has.
inline constexpr int kWorstLayers = 50;

// Thread-safe. A scrape sees one moment of the run: the states of the layers sum to its number.
class RunMetrics : public RunListener, public prometheus::Collectable {
 public:
  // Seconds left, nothing while unknown.
  using Eta = std::function<std::optional<double>()>;

  // `model` is what the run is called, the label of every series.
  RunMetrics(std::string model, absl::Time start);

  // All layers of the run and their elements are known. `eta` is asked by scrapes, on their
  // threads, until Close().
  void Plan(int layers, uint64_t weights, Eta eta);

  void Begun(int job, int layers) override;
  void Again(int job) override;
  void Finished(int job, const TensorReport& report) override;
  void Failed(int job) override;
  void Close() override;

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  struct Layer {
    std::string name;
    std::optional<double> output_error;
    double weight_error = 0;
    double bits_per_weight = 0;
  };
  class Families;

  int finished() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return done_ + degraded_ + rejected_; }
  int running() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void KeepIfBad(const TensorReport& report) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddLayers(Families* families) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const std::string model_;
  const absl::Time start_;
  mutable absl::Mutex mutex_;
  bool planned_ ABSL_GUARDED_BY(mutex_) = false;
  int layers_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t weights_ ABSL_GUARDED_BY(mutex_) = 0;
  Eta eta_ ABSL_GUARDED_BY(mutex_);                     // null before and after the work
  std::map<int, int> running_ ABSL_GUARDED_BY(mutex_);  // job -> layers not yet finished
  int done_ ABSL_GUARDED_BY(mutex_) = 0;
  int degraded_ ABSL_GUARDED_BY(mutex_) = 0;
  int rejected_ ABSL_GUARDED_BY(mutex_) = 0;
  int failed_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t weights_done_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t retries_ ABSL_GUARDED_BY(mutex_) = 0;
  std::multimap<double, Layer> worst_ ABSL_GUARDED_BY(mutex_);  // by error, the least bad first
};

}  // namespace quantd::client
