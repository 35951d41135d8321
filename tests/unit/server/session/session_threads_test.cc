// Real pools, many streams, random ends: the counters must balance and all memory must come back.
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "server/session/registry.h"
#include "tests/support/event_recorder.h"
#include "tests/support/fake_job.h"
#include "tests/support/fake_stream.h"
#include "workers/pool/pool.h"

namespace quantd {
namespace {

using ::quantd::testing::Chunk;
using ::quantd::testing::EventRecorder;
using ::quantd::testing::FakeStream;
using ::quantd::testing::HeaderFrame;

TEST(SessionThreads, StormOfJobsAndCancelsBalances) {
  constexpr int kClients = 3;
  constexpr int kJobsEach = 60;
  constexpr uint64_t kInput = 4000;
  EventRecorder events;
  SystemClock clock;
  Admission::Options admission_options;
  admission_options.budget_bytes = 1000;
  admission_options.clock = &clock;
  admission_options.events = &events;
  Admission admission(admission_options);
  auto plan = quantd::testing::MakePlan(kInput, 400);
  plan->run = [](const RunContext& context) -> absl::StatusOr<JobResult> {
    for (int i = 1; i <= 5; ++i) {
      context.progress->OnProgress(Phase::kSolving, i / 5.0);
      context.progress->OnRound(0, i, 1.0 / i);
      if (context.states == nullptr) continue;
      context.states->Due();
      context.states->Save(std::string(700 * i, 's'));
    }
    return quantd::testing::ResultOf(3000);
  };
  Pool ingest({2});
  Pool compute({2});
  SessionDeps deps;
  deps.create_job = quantd::testing::FactoryOf(plan.get());
  deps.admission = &admission;
  deps.ingest = [&](int p, std::function<void()> w) { ingest.Submit(p, std::move(w)); };
  deps.compute = [&](int p, std::function<void()> w) { compute.Submit(p, std::move(w)); };
  deps.executor = &compute;
  deps.clock = &clock;
  deps.events = &events;
  SessionOptions options;
  options.inbox_bytes = 1000;
  options.outbox_bytes = 1000;
  options.chunk_bytes = 200;
  std::vector<std::shared_ptr<FakeStream>> streams(kClients * kJobsEach);
  {
    SessionRegistry registry(deps, options);
    std::atomic<bool> stop{false};
    std::thread ticker([&] {
      while (!stop) {
        registry.Tick();
        std::this_thread::yield();
      }
    });
    std::vector<std::thread> clients;
    for (int c = 0; c < kClients; ++c) {
      clients.emplace_back([&, c] {
        std::mt19937 random(c);
        for (int i = 0; i < kJobsEach; ++i) {
          auto stream = FakeStream::Open(&registry);
          streams[c * kJobsEach + i] = stream;
          Session& session = *stream->session();
          const int end_at = std::uniform_int_distribution<>(0, 40)(random);
          QuantizeJob header = HeaderFrame();
          header.checkpoint_seconds = i % 2;
          session.OnFrame(std::move(header));
          for (uint64_t at = 0; at < kInput; at += 200) {
            if (static_cast<int>(at / 200) == end_at) session.OnCancel();
            session.OnFrame(Chunk(at, 200));
          }
          session.OnFrame(wire::EndFrame{});
          if (end_at % 3 == 0) session.OnCancel();
        }
      });
    }
    for (std::thread& t : clients) t.join();
    EXPECT_TRUE(registry.WaitUntilEmpty(absl::Now() + absl::Seconds(60)));
    stop = true;
    ticker.join();
  }
  int ok = 0;
  int pieces = 0;
  for (const auto& stream : streams) {
    uint64_t state_bytes = 0;
    const auto finished = stream->finished();
    ASSERT_EQ(finished.size(), 1u);
    EXPECT_FALSE(stream->broken());
    if (finished[0].status.ok()) {
      ++ok;
      const auto frames = stream->TakeFrames();
      ASSERT_FALSE(frames.empty());
      EXPECT_TRUE(std::holds_alternative<wire::AcceptedFrame>(frames.front()));
      EXPECT_TRUE(std::holds_alternative<wire::FinalFrame>(frames.back()));
      for (const wire::ResponseFrame& frame : frames) {
        if (const auto* piece = std::get_if<wire::JobStateFrame>(&frame)) {
          if (piece->offset == 0) state_bytes = 0;
          EXPECT_EQ(piece->offset, state_bytes);
          state_bytes += piece->data.size();
          pieces += 1;
        }
      }
    }
  }
  EXPECT_GT(ok, 0);
  EXPECT_LT(ok, kClients * kJobsEach);
  EXPECT_GT(pieces, 0);
  EXPECT_LE(events.jobs().size(), streams.size());
  EXPECT_EQ(admission.reserved_bytes(), 0u);
  EXPECT_EQ(admission.waiting_jobs(), 0);
  EXPECT_EQ(plan->live, 0);
}

}  // namespace
}  // namespace quantd
