#include "server/telemetry/metrics.h"

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "prometheus/metric_family.h"
#include "prometheus/text_serializer.h"
#include "server/telemetry/job_log.h"
#include "tests/support/fake_clock.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const ServerFacts kBuild = {"1.2.3", "OpenBLAS 0.3.21 Haswell", "A CPU", "abc123", 1 << 30};

std::string Scrape(const Metrics& metrics) {
  return prometheus::TextSerializer().Serialize(metrics.collectable()->Collect());
}

JobEvent GoodJob() {
  JobEvent event;
  event.job_id = "layer-3";
  event.rpc = "Quantize";
  event.method = "gptq";
  event.layout = "gptq-v2";
  event.trace_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  event.peer = "ipv4:127.0.0.1:5";
  event.outcome = Outcome::kOk;
  event.bytes_in = 4096;
  event.bytes_out = 640;
  event.weights = 1024;
  event.predicted_peak_bytes = 10000;
  event.predicted_seconds = 1.5;
  event.report.seconds.queue = 0.5;
  event.report.seconds.solve = 2.0;
  TensorReport tensor;
  tensor.outcome = Outcome::kOk;
  tensor.code_bits_per_weight = 2.25;
  tensor.error.sqnr_db = 21;
  tensor.error.output_relative_error = 0.004;
  event.report.tensors.push_back(tensor);
  return event;
}

TEST(MetricsTest, AFreshServerShowsZerosForEveryKnownSeries) {
  Metrics metrics(kBuild, {"rtn", "gptq"}, nullptr);
  const std::string text = Scrape(metrics);
  EXPECT_THAT(text, HasSubstr("quantd_jobs_total{method=\"rtn\",outcome=\"ok\"} 0"));
  EXPECT_THAT(text, HasSubstr("quantd_jobs_total{method=\"gptq\",outcome=\"cancelled\"} 0"));
  for (const char* reason :
       {"invalid", "never_fits", "queue_jobs", "queue_bytes", "queue_timeout", "draining"}) {
    EXPECT_THAT(text, HasSubstr("quantd_rejects_total{reason=\"" + std::string(reason) + "\"} 0"));
  }
  EXPECT_THAT(text, HasSubstr("quantd_build_info{"));
  EXPECT_THAT(text, HasSubstr("revision=\"abc123\""));
  EXPECT_THAT(text, HasSubstr("quantd_memory_limit_bytes 1073741824"));
  EXPECT_THAT(text, HasSubstr("quantd_draining 0"));
  EXPECT_THAT(text, HasSubstr("quantd_live_jobs{stage=\"sending\"} 0"));
  EXPECT_THAT(text, HasSubstr("quantd_backlog_seconds{stage=\"waiting\"} 0"));
  for (const char* labels :
       {"outcome=\"ok\",reason=\"none\"", "outcome=\"degraded\",reason=\"damping\"",
        "outcome=\"rejected\",reason=\"not_finite\""}) {
    EXPECT_THAT(text, HasSubstr(std::string("quantd_weight_outcomes_total{") + labels + "} 0"));
  }
  EXPECT_THAT(text, Not(HasSubstr("quantd_tls_certificate")));
  EXPECT_THAT(text, HasSubstr("blas=\"OpenBLAS 0.3.21 Haswell\""));
  EXPECT_THAT(text, HasSubstr("quantd_queue_wait_seconds_count 0"));
}

TEST(MetricsTest, AFinishedJobCountsOnceWithItsFigures) {
  Metrics metrics(kBuild, {"rtn", "gptq"}, nullptr);
  metrics.OnJobDone(GoodJob());
  const std::string text = Scrape(metrics);
  EXPECT_THAT(text, HasSubstr("quantd_jobs_total{method=\"gptq\",outcome=\"ok\"} 1"));
  EXPECT_THAT(text, HasSubstr("quantd_jobs_total{method=\"rtn\",outcome=\"ok\"} 0"));
  EXPECT_THAT(text, HasSubstr("quantd_bytes_received_total{method=\"gptq\"} 4096"));
  EXPECT_THAT(text, HasSubstr("quantd_bytes_sent_total{method=\"gptq\"} 640"));
  EXPECT_THAT(text, HasSubstr("quantd_weights_quantized_total{method=\"gptq\"} 1024"));
  EXPECT_THAT(text, HasSubstr("quantd_queue_wait_seconds_sum 0.5"));
  EXPECT_THAT(text, HasSubstr("quantd_stage_seconds_sum{stage=\"solve\"} 2"));
  EXPECT_THAT(text, HasSubstr("quantd_predicted_work_seconds_total{method=\"gptq\"} 1.5"));
  EXPECT_THAT(text, HasSubstr("quantd_work_seconds_total{method=\"gptq\"} 2"));
  EXPECT_THAT(text, HasSubstr("quantd_weight_outcomes_total{outcome=\"ok\",reason=\"none\"} 1"));
  EXPECT_THAT(text, HasSubstr("quantd_sqnr_db_sum{bits=\"3\",method=\"gptq\"} 21"));
  EXPECT_THAT(text, HasSubstr("quantd_output_relative_error_count{bits=\"3\",method=\"gptq\"} 1"));
}

TEST(MetricsTest, FailuresAddNoWeightsAndNoErrors) {
  Metrics metrics(kBuild, {"gptq"}, nullptr);
  JobEvent event = GoodJob();
  event.status = absl::DataLossError("chunk");
  metrics.OnJobDone(event);
  event.status = absl::DeadlineExceededError("late");
  metrics.OnJobDone(event);
  const std::string text = Scrape(metrics);
  EXPECT_THAT(text, HasSubstr("quantd_jobs_total{method=\"gptq\",outcome=\"failed\"} 1"));
  EXPECT_THAT(text, HasSubstr("quantd_jobs_total{method=\"gptq\",outcome=\"cancelled\"} 1"));
  EXPECT_THAT(text, HasSubstr("quantd_weights_quantized_total{method=\"gptq\"} 0"));
  EXPECT_THAT(text, Not(HasSubstr("quantd_sqnr_db_count")));
  EXPECT_THAT(text, HasSubstr("quantd_bytes_received_total{method=\"gptq\"} 8192"));
}

TEST(MetricsTest, ClientsCannotMakeSeriesGrow) {
  Metrics metrics(kBuild, {"rtn"}, nullptr);
  const size_t before = Scrape(metrics).size();
  for (int i = 0; i < 50; ++i) {
    JobEvent event = GoodJob();
    event.method = "made-up-" + std::to_string(i);
    metrics.OnJobDone(event);
    metrics.OnReject(RejectReason::kInvalid, event.method);
  }
  const std::string text = Scrape(metrics);
  EXPECT_THAT(text, Not(HasSubstr("made-up")));
  EXPECT_THAT(text, HasSubstr("quantd_jobs_total{method=\"unknown\",outcome=\"ok\"} 50"));
  EXPECT_LT(text.size(), before + 4000) << "the histograms of (unknown, 3 bits) and no more";
}

TEST(MetricsTest, GaugesFollowTheLastEvent) {
  Metrics metrics(kBuild, {"rtn"}, nullptr);
  metrics.OnQueue(3, 3000);
  metrics.OnBudget(100, 1000);
  metrics.OnPool(1, 2);
  metrics.OnQueue(2, 2000);
  metrics.OnReject(RejectReason::kQueueJobs, "rtn");
  const std::string text = Scrape(metrics);
  EXPECT_THAT(text, HasSubstr("quantd_queue_jobs 2"));
  EXPECT_THAT(text, HasSubstr("quantd_queue_bytes 2000"));
  EXPECT_THAT(text, HasSubstr("quantd_budget_reserved_bytes 100"));
  EXPECT_THAT(text, HasSubstr("quantd_budget_bytes 1000"));
  EXPECT_THAT(text, HasSubstr("quantd_pool_busy_threads 1"));
  EXPECT_THAT(text, HasSubstr("quantd_pool_threads 2"));
  EXPECT_THAT(text, HasSubstr("quantd_rejects_total{reason=\"queue_jobs\"} 1"));
}

TEST(MetricsTest, ARefusedJobIsNoFinishedOne) {
  std::vector<std::string> lines;
  auto log = std::make_shared<JsonLog>(LogLevel::kInfo,
                                       [&](const std::string& line) { lines.push_back(line); });
  Metrics metrics(kBuild, {"gptq"}, log);
  JobEvent event = GoodJob();
  event.status = absl::ResourceExhaustedError("the queue is full");
  event.refused = true;
  metrics.OnReject(RejectReason::kQueueJobs, "gptq");
  metrics.OnJobDone(event);
  const std::string text = Scrape(metrics);
  EXPECT_THAT(text, HasSubstr("quantd_rejects_total{reason=\"queue_jobs\"} 1"));
  for (const char* outcome : {"ok", "failed", "cancelled"}) {
    EXPECT_THAT(text, HasSubstr(std::string("quantd_jobs_total{method=\"gptq\",outcome=\"") +
                                outcome + "\"} 0"));
  }
  log->Flush();
  const auto line = nlohmann::json::parse(lines.at(0));
  EXPECT_EQ(line["outcome"], "refused");
  EXPECT_EQ(line["level"], "info");
  EXPECT_EQ(line["reason"], "the queue is full");
}

TEST(MetricsTest, WeightsCountByOutcomeAndKindOfReason) {
  Metrics metrics(kBuild, {"gptq"}, nullptr);
  JobEvent event = GoodJob();
  const TensorReport good = event.report.tensors[0];
  const auto add = [&](Outcome outcome, OutcomeCause cause) {
    event.report.tensors.push_back(good);
    event.report.tensors.back().outcome = outcome;
    event.report.tensors.back().cause = cause;
  };
  add(Outcome::kDegraded, OutcomeCause::kDamping);
  add(Outcome::kDegraded, OutcomeCause::kDamping);
  add(Outcome::kRejected, OutcomeCause::kNotFinite);
  add(Outcome::kDegraded, OutcomeCause::kScaleRange);  // not a reason to degrade
  metrics.OnJobDone(event);
  const std::string text = Scrape(metrics);
  const auto count = [&](const std::string& labels, int n) {
    EXPECT_THAT(text,
                HasSubstr("quantd_weight_outcomes_total{" + labels + "} " + std::to_string(n)));
  };
  count("outcome=\"ok\",reason=\"none\"", 1);
  count("outcome=\"degraded\",reason=\"damping\"", 2);
  count("outcome=\"degraded\",reason=\"other\"", 1);
  count("outcome=\"rejected\",reason=\"not_finite\"", 1);
  EXPECT_THAT(text, HasSubstr("quantd_sqnr_db_count{bits=\"3\",method=\"gptq\"} 4"))
      << "what is rejected has no error";
}

TEST(MetricsTest, BitsBeyondEightAreOther) {
  Metrics metrics(kBuild, {"gptq"}, nullptr);
  for (const double bits : {0.0, 4.0, 8.5, 1e300}) {
    JobEvent event = GoodJob();
    event.report.tensors[0].code_bits_per_weight = bits;
    metrics.OnJobDone(event);
  }
  const std::string text = Scrape(metrics);
  EXPECT_THAT(text, HasSubstr("quantd_sqnr_db_count{bits=\"other\",method=\"gptq\"} 3"));
  EXPECT_THAT(text, HasSubstr("quantd_sqnr_db_count{bits=\"4\",method=\"gptq\"} 1"));
}

TEST(MetricsTest, LiveJobsAddUpByStage) {
  Metrics metrics(kBuild, {}, nullptr);
  std::vector<LiveJob> jobs(4);
  jobs[0].stage = jobs[1].stage = LiveStage::kWaiting;
  jobs[0].backlog_seconds = 10;
  jobs[1].backlog_seconds = 20.5;
  jobs[2].stage = LiveStage::kUploading;
  jobs[2].backlog_seconds = 5;
  jobs[2].stalled_seconds = 3;
  jobs[3].stage = LiveStage::kSending;
  jobs[3].stalled_seconds = 7;
  metrics.OnLive(jobs);
  std::string text = Scrape(metrics);
  EXPECT_THAT(text, HasSubstr("quantd_live_jobs{stage=\"waiting\"} 2"));
  EXPECT_THAT(text, HasSubstr("quantd_live_jobs{stage=\"sending\"} 1"));
  EXPECT_THAT(text, HasSubstr("quantd_backlog_seconds{stage=\"waiting\"} 30.5"));
  EXPECT_THAT(text, HasSubstr("quantd_backlog_seconds{stage=\"uploading\"} 5"));
  EXPECT_THAT(text, Not(HasSubstr("quantd_backlog_seconds{stage=\"sending\"}")));
  EXPECT_THAT(text, HasSubstr("quantd_oldest_stalled_stream_seconds 7"));
  metrics.OnLive({});
  text = Scrape(metrics);
  EXPECT_THAT(text, HasSubstr("quantd_live_jobs{stage=\"waiting\"} 0"));
  EXPECT_THAT(text, HasSubstr("quantd_oldest_stalled_stream_seconds 0"));
}

TEST(MetricsTest, BusyThreadsAddUpOverTime) {
  quantd::testing::FakeClock clock;
  Metrics metrics(kBuild, {}, nullptr, &clock);
  clock.Advance(absl::Seconds(100));
  EXPECT_THAT(Scrape(metrics), HasSubstr("quantd_pool_busy_seconds_total 0"));
  metrics.OnPool(2, 4);
  clock.Advance(absl::Seconds(10));
  metrics.OnPool(1, 4);
  clock.Advance(absl::Seconds(5));
  EXPECT_THAT(Scrape(metrics), HasSubstr("quantd_pool_busy_seconds_total 25"));
  clock.Advance(absl::Seconds(1));
  metrics.OnPool(0, 4);
  clock.Advance(absl::Hours(1));
  EXPECT_THAT(Scrape(metrics), HasSubstr("quantd_pool_busy_seconds_total 26"));
}

TEST(MetricsTest, WhatWasTakenUpMidwaySaysNothingOfTheCostModel) {
  Metrics metrics(kBuild, {"gptq"}, nullptr);
  JobEvent event = GoodJob();
  event.predicted_seconds = 0;
  metrics.OnJobDone(event);
  EXPECT_THAT(Scrape(metrics), HasSubstr("quantd_work_seconds_total{method=\"gptq\"} 0"));
}

TEST(MetricsTest, DrainAndCertificateAreTold) {
  Metrics metrics(kBuild, {}, nullptr);
  metrics.OnDrain();
  metrics.OnCertificate(absl::FromUnixSeconds(1500));
  metrics.OnCertificate(absl::FromUnixSeconds(2500));
  const std::string text = Scrape(metrics);
  EXPECT_THAT(text, HasSubstr("quantd_draining 1"));
  EXPECT_THAT(text, HasSubstr("quantd_tls_certificate_expiry_timestamp_seconds 2500"));
}

TEST(MetricsTest, ResidentMemoryIsThatOfThisProcess) {
  Metrics metrics(kBuild, {}, nullptr);
  for (const auto& family : metrics.collectable()->Collect()) {
    if (family.name != "quantd_process_resident_memory_bytes") continue;
    ASSERT_EQ(family.metric.size(), 1u);
    EXPECT_GT(family.metric[0].gauge.value, 1 << 20);
    return;
  }
  FAIL() << "no resident memory gauge";
}

TEST(MetricsTest, EveryNameCarriesThePrefixAndHelp) {
  Metrics metrics(kBuild, {"rtn"}, nullptr);
  std::set<std::string> names;
  for (const auto& family : metrics.collectable()->Collect()) {
    EXPECT_EQ(family.name.rfind("quantd_", 0), 0u) << family.name;
    EXPECT_FALSE(family.help.empty()) << family.name;
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
  }
  EXPECT_GE(names.size(), 18u);
}

TEST(MetricsTest, AJobIsOneLogLine) {
  std::vector<std::string> lines;
  auto log = std::make_shared<JsonLog>(LogLevel::kInfo,
                                       [&](const std::string& line) { lines.push_back(line); });
  Metrics metrics(kBuild, {"gptq"}, log);
  metrics.OnJobDone(GoodJob());
  JobEvent bad = GoodJob();
  bad.status = absl::InvalidArgumentError("tensor \"w\": 3 bytes missing");
  metrics.OnJobDone(bad);
  log->Flush();
  ASSERT_EQ(lines.size(), 2u);
  const auto good = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(good["event"], "job");
  EXPECT_EQ(good["job_id"], "layer-3");
  EXPECT_EQ(good["rpc"], "Quantize");
  EXPECT_EQ(good["outcome"], "ok");
  EXPECT_EQ(good["status"], "OK");
  EXPECT_EQ(good["traceparent"], GoodJob().trace_parent);
  EXPECT_EQ(good["seconds"]["solve"], 2.0);
  EXPECT_EQ(good["predicted_peak_bytes"], 10000);
  const auto failed = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(failed["level"], "warning");
  EXPECT_EQ(failed["outcome"], "failed");
  EXPECT_EQ(failed["status"], "INVALID_ARGUMENT");
  EXPECT_EQ(failed["reason"], "tensor \"w\": 3 bytes missing");
}

TEST(JobLogTest, ADegradedJobNamesTheWeightAndItsReason) {
  JobEvent event = GoodJob();
  event.outcome = Outcome::kDegraded;
  event.report.tensors[0].name = "q.weight";
  event.report.tensors[0].reason = "damping 0.1";
  EXPECT_STREQ(JobOutcomeName(event), "degraded");
  EXPECT_EQ(JobLogFields(event)["reason"], "q.weight: damping 0.1");
}

}  // namespace
}  // namespace quantd
