#include "server/telemetry/history.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quantd {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);  // the beginning of a step

TEST(HistoryTest, AlwaysGivesHalfAnHourThatEndsNow) {
  History history;
  EXPECT_EQ(history.Read(kStart).size(), 180u);
  history.AddJob(kStart, 5, 7);
  EXPECT_EQ(history.Read(kStart).size(), 180u);
  EXPECT_EQ(history.Read(kStart).back().weights, 5);
  EXPECT_EQ(history.Read(kStart).back().bytes, 7);
}

TEST(HistoryTest, StepsAddUpAndMoveOn) {
  History history;
  history.AddJob(kStart, 1, 10);
  history.AddJob(kStart + absl::Seconds(9), 2, 20);
  history.AddJob(kStart + absl::Seconds(10), 4, 40);
  const auto steps = history.Read(kStart + absl::Seconds(35));
  EXPECT_EQ(steps[176].weights, 3);
  EXPECT_EQ(steps[177].weights, 4);
  EXPECT_EQ(steps[178].weights, 0);
  EXPECT_EQ(steps[179].weights, 0);
}

TEST(HistoryTest, WhatIsOlderThanHalfAnHourIsGone) {
  History history;
  history.AddJob(kStart, 1, 1);
  history.AddJob(kStart + absl::Minutes(29), 2, 2);
  EXPECT_EQ(history.Read(kStart + absl::Minutes(29)).at(179 - 174).weights, 1);
  history.AddJob(kStart + absl::Minutes(31), 4, 4);
  double sum = 0;
  for (const History::Step& step : history.Read(kStart + absl::Minutes(31))) sum += step.weights;
  EXPECT_EQ(sum, 6);
  for (const History::Step& step : history.Read(kStart + absl::Hours(5))) {
    EXPECT_EQ(step.weights, 0);
  }
  history.AddJob(kStart + absl::Hours(900), 8, 8);
  EXPECT_EQ(history.Read(kStart + absl::Hours(900)).back().weights, 8);
}

TEST(HistoryTest, AClockThatWasSetBackAddsToTheNewestStep) {
  History history;
  history.AddJob(kStart, 1, 1);
  history.AddJob(kStart - absl::Hours(1), 2, 2);
  EXPECT_EQ(history.Read(kStart).back().weights, 3);
}

TEST(HistoryTest, SamplesKeepTheLargestBacklogAndTheMeanOfBusyThreads) {
  History history;
  history.Sample(kStart, 30, 1.0);
  history.Sample(kStart, 90, 0.5);
  history.Sample(kStart, 10, 0.0);
  EXPECT_EQ(history.Read(kStart).back().backlog_seconds, 90);
  EXPECT_DOUBLE_EQ(history.Read(kStart).back().busy_share, 0.5);
}

TEST(HistoryTest, ErrorsWithoutALogarithmAreLeftOut) {
  History history;
  history.AddError(kStart, 0);
  history.AddError(kStart, 1e-2);
  history.AddError(kStart, 1e-4);
  EXPECT_EQ(history.Read(kStart).back().errors, 2);
  EXPECT_DOUBLE_EQ(history.Read(kStart).back().log10_error, -6);
}

}  // namespace
}  // namespace quantd
