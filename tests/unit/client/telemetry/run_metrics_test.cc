#include "client/telemetry/run_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "prometheus/text_serializer.h"

namespace quantd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TensorReport Report(const std::string& module, Outcome outcome, double weight_error,
                    std::optional<double> output_error = std::nullopt) {
  TensorReport report;
  report.name = module + ".weight";
  report.outcome = outcome;
  report.rows = 8;
  report.cols = 16;
  report.all_in_bits_per_weight = 4.25;
  report.error.weight_relative_error = weight_error;
  report.error.output_relative_error = output_error;
  return report;
}

RunMetrics::Eta Always(std::optional<double> eta) {
  return [eta] { return eta; };
}

std::string Text(const RunMetrics& metrics) {
  return prometheus::TextSerializer().Serialize(metrics.Collect());
}

// Values of a family by its last label.
std::map<std::string, double> Values(const RunMetrics& metrics, const std::string& family) {
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& one : metrics.Collect()) {
    if (one.name != family) continue;
    for (const auto& metric : one.metric) {
      EXPECT_TRUE(values.emplace(metric.label.back().value, metric.gauge.value).second);
    }
  }
  return values;
}

std::map<std::string, double> States(const RunMetrics& metrics) {
  return Values(metrics, "quantctl_layers");
}

TEST(RunMetricsTest, AKnownRunGivesAKnownText) {
  RunMetrics metrics("llama", absl::FromUnixSeconds(1000));
  metrics.Plan(8, 1024, Always(12.5));
  metrics.Begun(0, 2);
  metrics.Begun(1, 3);
  metrics.Finished(kEarlierRun, Report("a", Outcome::kOk, 0.5));
  metrics.Finished(0, Report("b", Outcome::kDegraded, 0.25, 0.125));
  metrics.Finished(0, Report("c", Outcome::kRejected, 0));
  metrics.Again(1);
  metrics.Begun(1, 3);
  metrics.Finished(1, Report("d", Outcome::kOk, 0.125, 0.75));
  EXPECT_EQ(Text(metrics),
            R"(# HELP quantctl_run_start_time_seconds Start of the run, seconds since the epoch.
# TYPE quantctl_run_start_time_seconds gauge
quantctl_run_start_time_seconds{model="llama"} 1000
# HELP quantctl_retries_total Requests that were sent again.
# TYPE quantctl_retries_total counter
quantctl_retries_total{model="llama"} 1
# HELP quantctl_eta_seconds Seconds until the last layer is expected; absent while there is no telling.
# TYPE quantctl_eta_seconds gauge
quantctl_eta_seconds{model="llama"} 12.5
# HELP quantctl_layers Layers by state: waiting, running, done, degraded, rejected or failed; together all layers of the run.
# TYPE quantctl_layers gauge
quantctl_layers{model="llama",state="waiting"} 2
quantctl_layers{model="llama",state="running"} 2
quantctl_layers{model="llama",state="done"} 2
quantctl_layers{model="llama",state="degraded"} 1
quantctl_layers{model="llama",state="rejected"} 1
quantctl_layers{model="llama",state="failed"} 0
# HELP quantctl_weights Weight elements of all layers of the run.
# TYPE quantctl_weights gauge
quantctl_weights{model="llama"} 1024
# HELP quantctl_weights_done Weight elements of the layers that were delivered.
# TYPE quantctl_weights_done gauge
quantctl_weights_done{model="llama"} 384
# HELP quantctl_layer_output_relative_error tr(D H D^T) / tr(W H W^T) of a layer, with H only; the 50 worst delivered layers.
# TYPE quantctl_layer_output_relative_error gauge
quantctl_layer_output_relative_error{model="llama",layer="d"} 0.75
quantctl_layer_output_relative_error{model="llama",layer="b"} 0.125
# HELP quantctl_layer_weight_relative_error Sum D^2 / sum W^2 of a layer; the 50 worst delivered layers.
# TYPE quantctl_layer_weight_relative_error gauge
quantctl_layer_weight_relative_error{model="llama",layer="d"} 0.125
quantctl_layer_weight_relative_error{model="llama",layer="a"} 0.5
quantctl_layer_weight_relative_error{model="llama",layer="b"} 0.25
# HELP quantctl_layer_bits_per_weight Every byte delivered for a layer x 8 / its elements; the 50 worst delivered layers.
# TYPE quantctl_layer_bits_per_weight gauge
quantctl_layer_bits_per_weight{model="llama",layer="d"} 4.25
quantctl_layer_bits_per_weight{model="llama",layer="a"} 4.25
quantctl_layer_bits_per_weight{model="llama",layer="b"} 4.25
)");
}

TEST(RunMetricsTest, BeforeThePlanOnlyTheStartIsKnown) {
  const RunMetrics metrics("m", absl::FromUnixSeconds(7));
  EXPECT_THAT(Text(metrics), HasSubstr("quantctl_run_start_time_seconds{model=\"m\"} 7\n"));
  EXPECT_THAT(Text(metrics), Not(HasSubstr("quantctl_layers")));
}

TEST(RunMetricsTest, AnUnknownEtaIsAbsentAndThatOfAFinishedRunIsZero) {
  RunMetrics metrics("m", absl::UnixEpoch());
  metrics.Plan(1, 128, Always(std::nullopt));
  metrics.Begun(0, 1);
  EXPECT_THAT(Text(metrics), Not(HasSubstr("quantctl_eta_seconds")));
  metrics.Finished(0, Report("a", Outcome::kOk, 0.5));
  EXPECT_THAT(Text(metrics), HasSubstr("quantctl_eta_seconds{model=\"m\"} 0\n"));
  metrics.Close();
  EXPECT_THAT(Text(metrics), HasSubstr("quantctl_eta_seconds{model=\"m\"} 0\n"));
}

TEST(RunMetricsTest, AFailedRunHasNoEtaAndTellsWhichLayersFailed) {
  RunMetrics metrics("m", absl::UnixEpoch());
  metrics.Plan(9, 1152, Always(3.0));
  metrics.Begun(0, 3);
  metrics.Begun(1, 4);
  metrics.Finished(0, Report("a", Outcome::kOk, 0.5));
  metrics.Failed(0);
  metrics.Close();
  const std::map<std::string, double> expected = {{"waiting", 6},  {"running", 0},  {"done", 1},
                                                  {"degraded", 0}, {"rejected", 0}, {"failed", 2}};
  EXPECT_EQ(States(metrics), expected);
  EXPECT_THAT(Text(metrics), Not(HasSubstr("quantctl_eta_seconds")));
}

TEST(RunMetricsTest, OnlyTheWorstLayersKeepTheirSeries) {
  RunMetrics metrics("m", absl::UnixEpoch());
  constexpr int kLayers = 4 * kWorstLayers;
  metrics.Plan(kLayers, 128 * kLayers, Always(std::nullopt));
  for (int i = 0; i < kLayers; ++i) {
    // Every layer finishes after worse and before better ones: 0, 7, 14 ... of 200.
    const int rank = i * 7 % kLayers;
    metrics.Begun(i, 1);
    // Weight errors in the opposite order: where H is known, they do not count.
    metrics.Finished(i, Report(absl::StrCat("layer", rank), Outcome::kOk, 1.0 / (rank + 1), rank));
    EXPECT_LE(Values(metrics, "quantctl_layer_output_relative_error").size(), kWorstLayers);
  }
  std::set<std::string> worst;
  for (int rank = kLayers - kWorstLayers; rank < kLayers; ++rank) {
    worst.insert(absl::StrCat("layer", rank));
  }
  for (const char* family :
       {"quantctl_layer_output_relative_error", "quantctl_layer_weight_relative_error",
        "quantctl_layer_bits_per_weight"}) {
    std::set<std::string> layers;
    for (const auto& [layer, value] : Values(metrics, family)) layers.insert(layer);
    EXPECT_EQ(layers, worst) << family;
  }
}

TEST(RunMetricsTest, NothingIsWorseThanAnErrorThatIsNoNumber) {
  RunMetrics metrics("m", absl::UnixEpoch());
  metrics.Plan(2 * kWorstLayers, 1, Always(std::nullopt));
  metrics.Finished(kEarlierRun,
                   Report("nan", Outcome::kOk, std::numeric_limits<double>::quiet_NaN()));
  for (int i = 0; i < kWorstLayers; ++i) {
    metrics.Finished(kEarlierRun, Report(absl::StrCat(i), Outcome::kOk, 1.0 + i));
  }
  const auto layers = Values(metrics, "quantctl_layer_weight_relative_error");
  EXPECT_EQ(layers.size(), kWorstLayers);
  EXPECT_TRUE(layers.contains("nan"));
  EXPECT_FALSE(layers.contains("0"));
}

TEST(RunMetricsTest, NamesAreEscaped) {
  RunMetrics metrics("a\"b\\c", absl::UnixEpoch());
  EXPECT_THAT(Text(metrics), HasSubstr(R"({model="a\"b\\c"})"));
}

TEST(RunMetricsTest, EveryScrapeOfARunInManyThreadsSeesAllLayersOnce) {
  RunMetrics metrics("m", absl::UnixEpoch());
  constexpr int kThreads = 4, kJobs = 50;  // of each
  constexpr int kLayers = 2 * kThreads * kJobs;
  metrics.Plan(kLayers, 128 * kLayers, Always(1.0));
  std::vector<std::thread> threads;
  std::atomic<int> working{kThreads};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&metrics, &working, t] {
      for (int i = 0; i < kJobs; ++i) {
        const int job = t * kJobs + i;
        metrics.Begun(job, 2);
        if (i % 5 == 0) {
          metrics.Again(job);
          metrics.Begun(job, 2);
        }
        metrics.Finished(job, Report(absl::StrCat("q", job), Outcome::kOk, job));
        if (i % 10 == 1) {
          metrics.Failed(job);
        } else {
          metrics.Finished(job, Report(absl::StrCat("k", job), Outcome::kDegraded, job, 0.5));
        }
      }
      --working;
    });
  }
  while (working > 0) {
    double sum = 0;
    for (const auto& [state, count] : States(metrics)) {
      EXPECT_GE(count, 0) << state;
      sum += count;
    }
    EXPECT_EQ(sum, kLayers);
  }
  for (std::thread& thread : threads) thread.join();
  metrics.Close();
  const std::map<std::string, double> expected = {{"waiting", 0},  {"running", 0},
                                                  {"done", 200},   {"degraded", 180},
                                                  {"rejected", 0}, {"failed", 20}};
  EXPECT_EQ(States(metrics), expected);
  EXPECT_THAT(Text(metrics), HasSubstr("quantctl_retries_total{model=\"m\"} 40\n"));
}

}  // namespace
}  // namespace quantd::client
