// An executor that runs items in a seeded random order on several threads: what depends on order or
// on threads shows.
#pragma once

#include <algorithm>
#include <atomic>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "workers/core/executor.h"

namespace quantd::reference {

class ShuffledExecutor : public Executor {
 public:
  explicit ShuffledExecutor(int width, uint64_t seed = 1) : width_(width), random_(seed) {}

  int width() const override { return width_; }

  void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) override {
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random_);
    std::atomic<int64_t> next{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < width_; ++t) {
      threads.emplace_back([&] {
        for (int64_t i = next++; i < count; i = next++) fn(order[i]);
      });
    }
    for (std::thread& t : threads) t.join();
  }

 private:
  int width_;
  std::mt19937_64 random_;
};

}  // namespace quantd::reference
