#include "server/session/registry.h"

#include <thread>

#include "tests/unit/server/session/session_fixture.h"

namespace quantd {
namespace {

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
