#include "server/telemetry/status_board.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/telemetry/event_tee.h"
#include "tests/support/event_recorder.h"
#include "tests/support/fake_clock.h"

namespace quantd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class StatusBoardTest : public ::testing::Test {
 protected:
  static JobEvent Ended(const std::string& name) {
    JobEvent event;
    event.job_id = "job-" + name;
    event.weight_names = name;
    event.method = "gptq";
    event.outcome = Outcome::kOk;
    event.bytes_in = 3000;
    event.bytes_out = 1000;
    event.weights = 1024;
    event.report.seconds.total = 2.5;
    for (const double error : {0.01, 0.0001}) {
      TensorReport tensor;
      tensor.outcome = Outcome::kOk;
      tensor.error.output_relative_error = error;
      tensor.all_in_bits_per_weight = 4.25;
      event.report.tensors.push_back(tensor);
    }
    return event;
  }

  static LiveJob Live(const std::string& name, double age) {
    LiveJob job;
    job.weights = name;
    job.stage = LiveStage::kRunning;
    job.fraction = 0.25;
    job.backlog_seconds = 12;
    job.age_seconds = age;
    return job;
  }

  testing::FakeClock clock_;
  StatusBoard board_{{"1.2.3", "OpenBLAS", "A CPU", "abc123", 1 << 30}, &clock_};
};

TEST_F(StatusBoardTest, GaugesAreTheLastOnesTold) {
  board_.OnPool(1, 2);
  board_.OnBudget(100, 1000);
  board_.OnQueue(3, 3000);
  board_.OnReject(RejectReason::kQueueJobs, "rtn");
  clock_.Advance(absl::Seconds(30));
  const nlohmann::json status = board_.Status();
  EXPECT_EQ(status["version"], "1.2.3");
  EXPECT_EQ(status["revision"], "abc123");
  EXPECT_EQ(status["busy_threads"], 1);
  EXPECT_EQ(status["threads"], 2);
  EXPECT_EQ(status["budget_reserved_bytes"], 100);
  EXPECT_EQ(status["budget_bytes"], 1000);
  EXPECT_EQ(status["queue_jobs"], 3);
  EXPECT_EQ(status["queue_bytes"], 3000);
  EXPECT_EQ(status["rejects"]["queue_jobs"], 1);
  EXPECT_EQ(status["draining"], false);
  EXPECT_TRUE(status["certificate_end"].is_null());
  EXPECT_EQ(status["now"].get<double>() - status["started"].get<double>(), 30);
  board_.OnDrain();
  board_.OnCertificate(absl::FromUnixSeconds(99));
  EXPECT_EQ(board_.Status()["draining"], true);
  EXPECT_EQ(board_.Status()["certificate_end"], 99);
}

TEST_F(StatusBoardTest, LiveJobsStandOldestFirst) {
  board_.OnLive({Live("young", 1), Live("old", 9)});
  const nlohmann::json status = board_.Status();
  EXPECT_EQ(status["live_jobs"], 2);
  EXPECT_EQ(status["live"][0]["weights"], "old");
  EXPECT_EQ(status["live"][1]["weights"], "young");
  EXPECT_EQ(status["live"][0]["stage"], "running");
  EXPECT_EQ(status["live"][0]["fraction"], 0.25);
  EXPECT_EQ(status["history"]["backlog_seconds"].back(), 24);
  board_.OnLive({});
  EXPECT_EQ(board_.Status()["live_jobs"], 0);
}

TEST_F(StatusBoardTest, AnEndedJobCountsInTotalsHistoryAndTheList) {
  board_.OnJobDone(Ended("q.weight"));
  clock_.Advance(absl::Seconds(5));
  JobEvent failed = Ended("k.weight");
  failed.status = absl::DataLossError("digest of \"k.weight\" differs");
  failed.weights = 0;
  failed.report = JobReport();
  board_.OnJobDone(failed);
  const nlohmann::json status = board_.Status();
  EXPECT_EQ(status["outcomes"]["ok"], 1);
  EXPECT_EQ(status["outcomes"]["failed"], 1);
  EXPECT_EQ(status["weights"], 1024);
  ASSERT_EQ(status["recent"].size(), 2u);
  const nlohmann::json& newest = status["recent"][0];
  EXPECT_EQ(newest["weights"], "k.weight");
  EXPECT_EQ(newest["outcome"], "failed");
  EXPECT_EQ(newest["reason"], "digest of \"k.weight\" differs");
  EXPECT_TRUE(newest["error"].is_null());
  const nlohmann::json& first = status["recent"][1];
  EXPECT_EQ(first["error"], 0.01) << "of the worst weight";
  EXPECT_EQ(first["bits"], 4.25);
  EXPECT_EQ(first["seconds"], 2.5);
  EXPECT_EQ(status["history"]["weights_per_second"].back(), 102.4);
  EXPECT_EQ(status["history"]["bytes_per_second"].back(), 800) << "both jobs moved 4000 bytes";
  EXPECT_NEAR(status["history"]["relative_error"].back().get<double>(), 0.001, 1e-9);
  EXPECT_TRUE(status["history"]["relative_error"].front().is_null());
}

TEST_F(StatusBoardTest, RefusedJobsAreCountedAndNotListed) {
  JobEvent event = Ended("q.weight");
  event.status = absl::ResourceExhaustedError("full");
  event.refused = true;
  board_.OnReject(RejectReason::kQueueJobs, "gptq");
  board_.OnJobDone(event);
  const nlohmann::json status = board_.Status();
  EXPECT_EQ(status["rejects"]["queue_jobs"], 1);
  EXPECT_TRUE(status["recent"].empty());
  EXPECT_TRUE(status["outcomes"].empty());
}

TEST_F(StatusBoardTest, MemoryIsBounded) {
  for (int i = 0; i < 60; ++i) board_.OnJobDone(Ended(absl::StrCat("w", i)));
  const nlohmann::json status = board_.Status();
  EXPECT_EQ(status["recent"].size(), StatusBoard::kRecent);
  EXPECT_EQ(status["recent"][0]["weights"], "w59");
  EXPECT_EQ(status["outcomes"]["ok"], 60);
  board_.OnLive(std::vector<LiveJob>(1000, Live("w", 1)));
  EXPECT_EQ(board_.Status()["live"].size(), StatusBoard::kShownLive);
  EXPECT_EQ(board_.Status()["live_jobs"], 1000);
}

TEST_F(StatusBoardTest, NamesOfAnyBytesMakeValidJson) {
  JobEvent event = Ended("w\xff\"<script>");
  board_.OnJobDone(event);
  const auto page = board_.Page("/status.json");
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->content_type, "application/json");
  EXPECT_FALSE(nlohmann::json::parse(page->body, nullptr, false).is_discarded());
}

TEST_F(StatusBoardTest, ThePageCarriesAllItNeeds) {
  const auto page = board_.Page("/");
  ASSERT_TRUE(page.has_value());
  EXPECT_THAT(page->body, HasSubstr("<title>quantd</title>"));
  EXPECT_THAT(page->body, HasSubstr("fetch('status.json'"));
  EXPECT_THAT(page->body, HasSubstr("</html>"));
  for (const char* word : {"src=", "@import", "url(", "innerHTML", "//cdn"}) {
    EXPECT_THAT(page->body, Not(HasSubstr(word)));
  }
  EXPECT_FALSE(board_.Page("/metrics").has_value());
  EXPECT_FALSE(board_.Page("/etc/passwd").has_value());
}

TEST(EventTeeTest, BothAreToldEverything) {
  testing::EventRecorder one, two;
  EventTee tee(&one, &two);
  tee.OnReject(RejectReason::kInvalid, "rtn");
  tee.OnJobDone(JobEvent());
  tee.OnQueue(1, 2);
  tee.OnBudget(3, 4);
  tee.OnPool(5, 6);
  tee.OnLive({LiveJob()});
  tee.OnDrain();
  tee.OnCertificate(absl::FromUnixSeconds(7));
  for (const testing::EventRecorder* sink : {&one, &two}) {
    EXPECT_EQ(sink->rejects().size(), 1u);
    EXPECT_EQ(sink->jobs().size(), 1u);
    EXPECT_EQ(sink->waiting_jobs(), 1);
    EXPECT_EQ(sink->budget_bytes(), 4u);
    EXPECT_EQ(sink->threads(), 6);
    EXPECT_EQ(sink->live().size(), 1u);
    EXPECT_TRUE(sink->draining());
    EXPECT_EQ(sink->certificates().size(), 1u);
  }
}

}  // namespace
}  // namespace quantd
