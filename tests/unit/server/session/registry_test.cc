#include "server/session/registry.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "tests/unit/server/session/session_fixture.h"

namespace quantd {
namespace {

using ::quantd::testing::Chunk;
using ::quantd::testing::HeaderFrame;
using ::testing::IsEmpty;

class RegistryTest : public SessionFixture {};

TEST_F(RegistryTest, CountsSessionsUntilTheyAreClosed) {
  EXPECT_EQ(registry_->live(), 0);
  auto a = Open();
  auto b = OpenIn(SessionState::kUploading);
  EXPECT_EQ(registry_->live(), 2);
  a->session()->OnCancel();
  EXPECT_EQ(registry_->live(), 1);
}

TEST_F(RegistryTest, TickReachesEverySession) {
  auto a = Open();
  auto b = Open();
  clock_.Advance(absl::Seconds(11));
  registry_->Tick();
  EXPECT_EQ(a->finished().size(), 1u);
  EXPECT_EQ(b->finished().size(), 1u);
}

TEST_F(RegistryTest, TickTellsHowEveryJobStands) {
  auto running = Open();
  QuantizeJob header = HeaderFrame("first");
  for (const char* name : {"q.weight", "h", "k.weight"}) {
    header.tensors.push_back({name, *name == 'h' ? Role::kHessian : Role::kWeight});
  }
  running->session()->OnFrame(header);
  running->session()->OnFrame(Chunk(0, kInput));
  running->session()->OnFrame(wire::EndFrame{});
  RunIngest();
  auto headless = Open();
  auto queued = Open();
  queued->session()->OnFrame(HeaderFrame("second"));
  RunIngest();
  clock_.Advance(absl::Seconds(3));
  registry_->Tick();
  std::vector<LiveJob> live = events_.live();
  ASSERT_EQ(live.size(), 2u) << "who has sent no header has no job";
  std::sort(live.begin(), live.end(),
            [](const auto& a, const auto& b) { return a.job_id < b.job_id; });
  EXPECT_EQ(live[0].job_id, "first");
  EXPECT_EQ(live[0].stage, LiveStage::kWaiting) << "no worker has taken it";
  EXPECT_EQ(live[0].weights, "q.weight + 1");
  EXPECT_EQ(live[0].backlog_seconds, plan_->cost.seconds);
  EXPECT_EQ(live[0].bytes_in, kInput);
  EXPECT_EQ(live[0].age_seconds, 3);
  EXPECT_EQ(live[0].predicted_peak_bytes, kPeak);
  EXPECT_EQ(live[1].stage, LiveStage::kQueued);
  EXPECT_EQ(live[1].backlog_seconds, plan_->cost.seconds);
  EXPECT_EQ(live[1].stalled_seconds, 0) << "it waits for us";
  RunAll();
  registry_->Tick();
  ASSERT_EQ(events_.live().size(), 1u) << "the first one has ended, the second one has memory";
  EXPECT_EQ(events_.live()[0].job_id, "second");
  EXPECT_EQ(events_.live()[0].stage, LiveStage::kUploading);
}

TEST_F(RegistryTest, AStreamStallsWhileItsClientNeitherSendsNorReads) {
  auto silent = OpenIn(SessionState::kUploading);
  clock_.Advance(absl::Seconds(4));
  registry_->Tick();
  EXPECT_EQ(events_.live().at(0).stalled_seconds, 4);
  silent->session()->OnFrame(Chunk(0, kInput / 2));
  RunIngest();
  registry_->Tick();
  EXPECT_EQ(events_.live().at(0).stalled_seconds, 0);
  silent->session()->OnCancel();

  auto deaf = OpenIn(SessionState::kSending);
  ASSERT_TRUE(deaf->Take());
  clock_.Advance(absl::Seconds(6));
  registry_->Tick();
  EXPECT_EQ(events_.live().at(0).stage, LiveStage::kSending);
  EXPECT_EQ(events_.live().at(0).stalled_seconds, 6);
  EXPECT_EQ(events_.live().at(0).backlog_seconds, 0);
}

TEST_F(RegistryTest, TheBacklogOfARunningJobShrinksWithItsProgress) {
  std::vector<LiveJob> live;
  plan_->run = [&](const RunContext& context) {
    context.progress->OnProgress(Phase::kPreparing, 0.5);
    registry_->Tick();
    live.push_back(events_.live().at(0));
    context.progress->OnProgress(Phase::kSolving, 0.75);
    clock_.Advance(absl::Seconds(100));  // slower than predicted: others run beside it
    registry_->Tick();
    live.push_back(events_.live().at(0));
    return quantd::testing::ResultOf(100);
  };
  auto stream = Open();
  Upload(*stream);
  RunAll();
  ASSERT_EQ(live.size(), 2u);
  EXPECT_EQ(live[0].stage, LiveStage::kRunning);
  EXPECT_EQ(live[0].backlog_seconds, plan_->cost.seconds);
  EXPECT_DOUBLE_EQ(live[1].backlog_seconds, plan_->cost.seconds / 4);
}

TEST_F(RegistryTest, DrainIsTold) {
  EXPECT_FALSE(events_.draining());
  registry_->BeginDrain();
  EXPECT_TRUE(events_.draining());
}

TEST_F(RegistryTest, DrainFailsWhatWaitsAndLetsWhatRunsFinish) {
  auto running = Open();
  Upload(*running);
  RunIngest();
  auto queued = Open();
  queued->session()->OnFrame(HeaderFrame("queued"));
  RunIngest();
  registry_->BeginDrain();
  EXPECT_EQ(Code(*queued), absl::StatusCode::kUnavailable);
  EXPECT_EQ(queued->finished()[0].pushback_ms, 0);
  auto late = Open();
  late->session()->OnFrame(HeaderFrame("late"));
  RunIngest();
  EXPECT_EQ(Code(*late), absl::StatusCode::kUnavailable);
  EXPECT_THAT(running->finished(), IsEmpty());
  RunAll();
  EXPECT_EQ(Code(*running), absl::StatusCode::kOk);
  EXPECT_TRUE(registry_->DrainAndWait(absl::InfinitePast()));
}

TEST_F(RegistryTest, WhatStillRunsAtTheDeadlineIsStopped) {
  auto running = OpenIn(SessionState::kRunning);
  auto uploading = Open();
  EXPECT_FALSE(registry_->DrainAndWait(absl::InfinitePast(), absl::ZeroDuration()));
  EXPECT_EQ(Code(*running), absl::StatusCode::kUnavailable);
  EXPECT_EQ(running->finished()[0].pushback_ms, 0);
  EXPECT_EQ(Code(*uploading), absl::StatusCode::kUnavailable);
  EXPECT_EQ(registry_->live(), 0);
}

TEST_F(RegistryTest, WaitsForTheLastOne) {
  auto stream = OpenIn(SessionState::kUploading);
  std::thread waiter([&] { EXPECT_TRUE(registry_->DrainAndWait(absl::InfiniteFuture())); });
  stream->session()->OnCancel();
  waiter.join();
}

}  // namespace
}  // namespace quantd
