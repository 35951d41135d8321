#include "workers/pool/pool.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quantd {
namespace {

// One ParallelFor. Threads claim indices until none is left; the caller's closure lives until then,
// because the caller waits for every claimed index.
class Loop {
 public:
  Loop(int64_t count, const std::function<void(int64_t)>* fn) : count_(count), fn_(fn) {}

  // Runs items until all are claimed.
  void Work() {
    int64_t ran = 0;
    for (int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < count_;
         i = next_.fetch_add(1, std::memory_order_relaxed)) {
      ++ran;
      try {
        (*fn_)(i);
      } catch (...) {
        Note(std::current_exception());
      }
    }
    if (ran == 0) return;
    absl::MutexLock lock(&mutex_);
    done_ += ran;
  }

  // When all items have returned. Rethrows what one of them threw.
  void Wait() {
    std::exception_ptr thrown;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Loop::AllDone));
      thrown = thrown_;
    }
    if (thrown) std::rethrow_exception(thrown);
  }

 private:
  void Note(std::exception_ptr thrown) {
    absl::MutexLock lock(&mutex_);
    if (!thrown_) thrown_ = std::move(thrown);
  }
  bool AllDone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return done_ == count_; }

  const int64_t count_;
  const std::function<void(int64_t)>* const fn_;
  std::atomic<int64_t> next_{0};
  absl::Mutex mutex_;
  int64_t done_ ABSL_GUARDED_BY(mutex_) = 0;
  std::exception_ptr thrown_ ABSL_GUARDED_BY(mutex_);
};

// A loop that can use `wanted` more threads.
struct HelpCall {
  std::shared_ptr<Loop> loop;
  int64_t wanted = 0;
};

}  // namespace

struct Pool::State {
  using Job = std::function<void()>;

  explicit State(const Options& options)
      : width(std::max(options.threads, 1)), events(options.events) {}

  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return stopping || !help.empty() || !jobs.empty();
  }

  // Takes one thread's share of the oldest loop that wants help.
  std::shared_ptr<Loop> TakeHelp() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (help.empty()) return nullptr;
    std::shared_ptr<Loop> loop = help.front().loop;
    if (--help.front().wanted == 0) help.pop_front();
    return loop;
  }

  Job TakeJob() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    auto first = jobs.begin();
    Job job = std::move(first->second.front());
    first->second.pop_front();
    if (first->second.empty()) jobs.erase(first);
    return job;
  }

  void ThreadMain() {
    bool busy = false;
    while (true) {
      std::shared_ptr<Loop> loop;
      Job job;
      {
        absl::MutexLock lock(&mutex);
        if (!HasWork() && busy) {
          busy = false;
          --busy_threads;
          mutex.Unlock();
          SendGauge();
          mutex.Lock();
        }
        mutex.Await(absl::Condition(this, &State::HasWork));
        loop = TakeHelp();
        if (loop == nullptr) {
          if (stopping) break;
          job = TakeJob();
        }
        if (!busy) ++busy_threads;
      }
      if (!busy) SendGauge();
      busy = true;
      if (loop != nullptr) {
        loop->Work();
      } else {
        job();
      }
    }
    if (!busy) return;
    {
      absl::MutexLock lock(&mutex);
      --busy_threads;
    }
    SendGauge();
  }

  // Read and sent under one lock, so that the last value sent is the newest.
  void SendGauge() ABSL_LOCKS_EXCLUDED(mutex) {
    if (events == nullptr) return;
    absl::MutexLock gauge_lock(&gauge_mutex);
    int busy = 0;
    {
      absl::MutexLock lock(&mutex);
      busy = busy_threads;
    }
    events->OnPool(busy, width);
  }

  const int width;
  EventSink* const events;
  absl::Mutex gauge_mutex ABSL_ACQUIRED_BEFORE(mutex);
  absl::Mutex mutex;
  std::list<HelpCall> help ABSL_GUARDED_BY(mutex);  // oldest first
  std::map<int, std::deque<Job>, std::greater<int>> jobs ABSL_GUARDED_BY(mutex);
  int busy_threads ABSL_GUARDED_BY(mutex) = 0;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::vector<std::thread> threads;
};

Pool::Pool(const Options& options) : state_(std::make_unique<State>(options)) {
  state_->threads.reserve(state_->width);
  for (int i = 0; i < state_->width; ++i) {
    state_->threads.emplace_back([state = state_.get()] { state->ThreadMain(); });
  }
}

Pool::~Pool() {
  std::map<int, std::deque<State::Job>, std::greater<int>> dropped;  // freed outside the lock
  {
    absl::MutexLock lock(&state_->mutex);
    state_->stopping = true;
    dropped.swap(state_->jobs);
  }
  dropped.clear();
  for (std::thread& thread : state_->threads) thread.join();
}

int Pool::width() const { return state_->width; }

void Pool::ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) {
  if (count <= 0) return;
  const int64_t helpers = std::min<int64_t>(state_->width, count) - 1;
  if (helpers == 0) {
    for (int64_t i = 0; i < count; ++i) fn(i);
    return;
  }
  auto loop = std::make_shared<Loop>(count, &fn);
  {
    absl::MutexLock lock(&state_->mutex);
    state_->help.push_back({loop, helpers});
  }
  loop->Work();
  {
    absl::MutexLock lock(&state_->mutex);
    state_->help.remove_if([&loop](const HelpCall& call) { return call.loop == loop; });
  }
  loop->Wait();
}

void Pool::Submit(int priority, std::function<void()> work) {
  absl::MutexLock lock(&state_->mutex);
  if (state_->stopping) return;
  state_->jobs[priority].push_back(std::move(work));
}

}  // namespace quantd
