#include "workers/pool/pool.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "absl/synchronization/barrier.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace quantd {
namespace {

TEST(Pool, EveryIndexOnceForAnyWidthAndCount) {
  for (int width : {1, 2, 3, 8}) {
    Pool pool({width});
    EXPECT_EQ(pool.width(), width);
    for (int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> hits(count);
      pool.ParallelFor(count, [&hits](int64_t i) { ++hits[i]; });
      for (const auto& h : hits) ASSERT_EQ(h, 1) << width << " " << count;
    }
  }
}

TEST(Pool, NestedLoopsFromManyCallersFinish) {
  Pool pool({3});
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        pool.ParallelFor(5, [&](int64_t) {
          pool.ParallelFor(4, [&](int64_t) { pool.ParallelFor(3, [&](int64_t i) { sum += i; }); });
        });
      }
    });
  }
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(sum, 3 * 20 * 5 * 4 * (0 + 1 + 2));
}

TEST(Pool, AnItemThatThrowsReachesTheCallerAfterAllItemsReturned) {
  for (const int threads : {1, 3}) {
    Pool pool({threads});
    std::atomic<int> returned{0};
    EXPECT_THROW(pool.ParallelFor(50,
                                  [&](int64_t i) {
                                    if (i % 7 == 3) throw std::bad_alloc();
                                    ++returned;
                                  }),
                 std::bad_alloc);
    if (threads > 1) {
      EXPECT_EQ(returned, 43);
    }
    pool.ParallelFor(4, [&](int64_t) { ++returned; });  // the pool goes on
  }
}

TEST(Pool, LoopsReallySpreadOverThreads) {
  Pool pool({3});
  auto* both = new absl::Barrier(3);  // passes only when three threads are inside at once
  pool.ParallelFor(3, [both](int64_t) {
    if (both->Block()) delete both;
  });
}

// With one thread that is held, everything submitted behind it lines up and runs in one known
// order.
class HeldPool {
 public:
  HeldPool() : pool_({1}) {
    pool_.Submit(0, [this] {
      held_.Notify();
      go_.WaitForNotification();
    });
    held_.WaitForNotification();
  }
  Pool& pool() { return pool_; }
  void Go() { go_.Notify(); }

 private:
  absl::Notification held_;
  absl::Notification go_;
  Pool pool_;
};

TEST(Pool, HigherPriorityFirstThenFirstComeFirstServed) {
  HeldPool held;
  std::vector<int> order;  // written by the one thread
  absl::BlockingCounter done(6);
  const auto add = [&](int priority, int id) {
    held.pool().Submit(priority, [&, id] {
      order.push_back(id);
      done.DecrementCount();
    });
  };
  add(0, 1);
  add(-3, 2);
  add(5, 3);
  add(0, 4);
  add(5, 5);
  add(-3, 6);
  held.Go();
  done.Wait();
  EXPECT_THAT(order, ::testing::ElementsAre(3, 5, 1, 4, 2, 6));
}

TEST(Pool, HelpForRunningLoopsComesBeforeNewJobs) {
  Pool pool({2});
  absl::Notification loop_started;
  absl::Notification other_held;
  absl::Notification release_other;
  absl::Notification loop_done;
  std::atomic<bool> new_job_ran{false};
  std::atomic<bool> job_before_help{false};
  // Thread A holds; thread B starts a loop of two items that meet: A must help once it is free,
  // although a job of the highest priority waits.
  pool.Submit(0, [&] {
    other_held.Notify();
    release_other.WaitForNotification();
  });
  other_held.WaitForNotification();
  pool.Submit(0, [&] {
    auto* meet = new absl::Barrier(2);
    std::atomic<int> entered{0};
    pool.ParallelFor(2, [&](int64_t) {
      if (entered++ == 0) loop_started.Notify();
      if (new_job_ran) job_before_help = true;
      if (meet->Block()) delete meet;
    });
    loop_done.Notify();
  });
  loop_started.WaitForNotification();
  absl::Notification new_job_done;
  pool.Submit(10, [&] {
    new_job_ran = true;
    new_job_done.Notify();
  });
  release_other.Notify();
  loop_done.WaitForNotification();
  new_job_done.WaitForNotification();
  EXPECT_FALSE(job_before_help);
}

TEST(Pool, DestructorFinishesWhatRunsAndDropsTheRest) {
  bool finished = false;
  std::atomic<int> dropped_ran{0};
  const auto token = std::make_shared<int>(0);
  absl::Notification started;
  absl::Notification all_submitted;
  {
    Pool pool({1});
    pool.Submit(0, [&] {
      started.Notify();
      all_submitted.WaitForNotification();
      while (token.use_count() > 1) std::this_thread::yield();  // until the destructor drops them
      pool.ParallelFor(4, [](int64_t) {});
      finished = true;
    });
    started.WaitForNotification();
    for (int i = 0; i < 5; ++i) {
      pool.Submit(1, [&dropped_ran, token] { ++dropped_ran; });
    }
    all_submitted.Notify();
  }
  EXPECT_TRUE(finished);
  EXPECT_EQ(dropped_ran, 0);
}

class Gauge : public NullEventSink {
 public:
  void OnPool(int busy, int threads) override {
    absl::MutexLock lock(&mutex);
    seen.push_back(busy);
    width = threads;
  }
  bool Idle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return !seen.empty() && seen.back() == 0; }
  absl::Mutex mutex;
  std::vector<int> seen;
  int width = 0;
};

TEST(Pool, TellsHowManyThreadsAreBusy) {
  Gauge gauge;
  {
    Pool pool({2, &gauge});
    auto* both = new absl::Barrier(2);
    for (int i = 0; i < 2; ++i) {
      pool.Submit(0, [both] {
        if (both->Block()) delete both;
      });
    }
    absl::MutexLock lock(&gauge.mutex);
    gauge.mutex.Await(absl::Condition(&gauge, &Gauge::Idle));
  }
  EXPECT_EQ(gauge.width, 2);
  EXPECT_EQ(gauge.seen.back(), 0);
  EXPECT_THAT(gauge.seen, ::testing::Each(::testing::AllOf(::testing::Ge(0), ::testing::Le(2))));
  EXPECT_EQ(*std::max_element(gauge.seen.begin(), gauge.seen.end()), 2);
}

}  // namespace
}  // namespace quantd
