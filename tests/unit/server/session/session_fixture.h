// Sessions over puppet pools: nothing happens until a test says so.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/session/registry.h"
#include "tests/support/event_recorder.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_job.h"
#include "tests/support/fake_stream.h"
#include "tests/support/puppet_pool.h"

namespace quantd {

inline constexpr uint64_t kBudget = 1000;
inline constexpr uint64_t kPeak = 600;  // two jobs do not fit together
inline constexpr uint64_t kInput = 300;

class SessionFixture : public ::testing::Test {
 protected:
  using FakeStream = quantd::testing::FakeStream;
  using Reader = FakeStream::Reader;

  SessionFixture() : plan_(quantd::testing::MakePlan(kInput, kPeak)) { Make(); }

  ~SessionFixture() override {
    // Whatever a test did: everybody was told once, in turn, and all memory came back.
    for (const auto& stream : streams_) {
      if (stream->session() != nullptr) stream->session()->OnCancel();
      if (stream->session() != nullptr) stream->session()->OnWriteDone(false);
    }
    RunAll();
    for (const auto& stream : streams_) {
      EXPECT_EQ(stream->finished().size(), 1u);
      EXPECT_FALSE(stream->broken());
    }
    EXPECT_EQ(registry_->live(), 0);
    EXPECT_EQ(plan_->live, 0);
    EXPECT_EQ(admission_->reserved_bytes(), 0u);
    EXPECT_EQ(admission_->waiting_jobs(), 0);
    for (const auto& stream : streams_) stream->Detach();
  }

  // Anew, with options_ and admission_options_.
  void Make() {
    registry_.reset();
    admission_options_.budget_bytes = kBudget;
    admission_options_.clock = &clock_;
    admission_options_.events = &events_;
    admission_.emplace(admission_options_);
    SessionDeps deps;
    deps.create_job = [this, inner = quantd::testing::FactoryOf(plan_.get())](JobHeader header) {
      if (before_create_) before_create_();
      return inner(std::move(header));
    };
    deps.admission = &*admission_;
    deps.ingest = [this](int p, std::function<void()> w) { ingest_.Submit(p, std::move(w)); };
    deps.compute = [this](int p, std::function<void()> w) {
      compute_.Submit(p, std::move(w));
      if (after_submit_) after_submit_();
    };
    deps.executor = &executor_;
    deps.clock = &clock_;
    deps.events = &events_;
    deps.build_id = "build-7";
    registry_.emplace(std::move(deps), options_);
  }

  std::shared_ptr<FakeStream> Open(Reader reader = Reader::kEager, CallInfo info = {}) {
    streams_.push_back(FakeStream::Open(&*registry_, std::move(info), reader));
    return streams_.back();
  }
  void RunIngest() {
    while (ingest_.RunOne()) {
    }
  }
  void RunAll() {
    while (ingest_.RunOne() || compute_.RunOne()) {
    }
  }

  // Header, all bytes, End.
  void Upload(FakeStream& stream, const std::string& id = "job-1", int priority = 0) {
    EXPECT_TRUE(stream.session()->OnFrame(quantd::testing::HeaderFrame(id, priority)));
    EXPECT_TRUE(stream.session()->OnFrame(quantd::testing::Chunk(0, kInput)));
    EXPECT_TRUE(stream.session()->OnFrame(wire::EndFrame{}));
    stream.session()->OnHalfClose();
  }

  // A stream whose session stands in `state`; memory is held by another job for kQueued.
  std::shared_ptr<FakeStream> OpenIn(SessionState state) {
    if (state == SessionState::kQueued) {
      auto holder = Open();
      holder->session()->OnFrame(quantd::testing::HeaderFrame("holder"));
      RunIngest();
    }
    auto stream = Open(state == SessionState::kSending ? Reader::kStalls : Reader::kEager);
    Session& session = *stream->session();
    if (state != SessionState::kHeader) session.OnFrame(quantd::testing::HeaderFrame());
    if (state != SessionState::kAdmitting) RunIngest();
    if (state == SessionState::kRunning || state == SessionState::kSending) {
      session.OnFrame(quantd::testing::Chunk(0, kInput));
      session.OnFrame(wire::EndFrame{});
      RunIngest();
    }
    if (state == SessionState::kSending) RunAll();
    EXPECT_EQ(session.state(), state) << SessionStateName(session.state());
    return stream;
  }

  static absl::StatusCode Code(const FakeStream& stream) {
    const auto finished = stream.finished();
    return finished.empty() ? absl::StatusCode::kOk : finished[0].status.code();
  }
  static std::string Message(const FakeStream& stream) {
    const auto finished = stream.finished();
    return finished.empty() ? "(not finished)" : std::string(finished[0].status.message());
  }

  quantd::testing::FakeClock clock_;
  quantd::testing::EventRecorder events_;
  quantd::testing::PuppetPool ingest_;
  quantd::testing::PuppetPool compute_;
  InlineExecutor executor_;
  std::unique_ptr<quantd::testing::FakeJobPlan> plan_;
  std::function<void()> before_create_;
  std::function<void()> after_submit_;  // of Job::Run, before the submitting task goes on
  SessionOptions options_;
  Admission::Options admission_options_;
  std::optional<Admission> admission_;
  std::optional<SessionRegistry> registry_;
  std::vector<std::shared_ptr<FakeStream>> streams_;
};

}  // namespace quantd
