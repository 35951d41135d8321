#include "workers/core/report.h"

#include <gtest/gtest.h>

namespace quantd {
namespace {

JobReport ReportOf(std::initializer_list<Outcome> outcomes) {
  JobReport report;
  for (const Outcome outcome : outcomes) report.tensors.emplace_back().outcome = outcome;
  return report;
}

TEST(JobReportTest, TheWorstTensorDecides) {
  EXPECT_EQ(ReportOf({Outcome::kOk, Outcome::kOk}).outcome(), Outcome::kOk);
  EXPECT_EQ(ReportOf({Outcome::kOk, Outcome::kDegraded}).outcome(), Outcome::kDegraded);
  EXPECT_EQ(ReportOf({Outcome::kRejected, Outcome::kDegraded}).outcome(), Outcome::kRejected);
  EXPECT_EQ(ReportOf({Outcome::kDegraded, Outcome::kRejected, Outcome::kOk}).outcome(),
            Outcome::kRejected);
  EXPECT_EQ(ReportOf({}).outcome(), Outcome::kOk);
}

TEST(OutcomeTest, HasTheNamesOfTheContract) {
  EXPECT_EQ(OutcomeName(Outcome::kOk), "OK");
  EXPECT_EQ(OutcomeName(Outcome::kDegraded), "DEGRADED");
  EXPECT_EQ(OutcomeName(Outcome::kRejected), "REJECTED");
}

}  // namespace
}  // namespace quantd
