// How kernels ask for parallel work without knowing threads.
#pragma once

#include <cstdint>
#include <functional>

namespace quantd {

class Executor {
 public:
  virtual ~Executor() = default;

  // Threads that may run items at once, the caller included; >= 1. Results must not depend on it.
  virtual int width() const = 0;

  // Calls fn(i) once for every i in [0, count), in any order and on any thread (the caller takes
  // part), and returns when all have returned. When an item throws (memory ran out), the exception
  // comes to the caller once no item runs any more. May be nested.
  virtual void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) = 0;
};

// Runs everything on the calling thread, in order.
class InlineExecutor : public Executor {
 public:
  int width() const override { return 1; }
  void ParallelFor(int64_t count, const std::function<void(int64_t)>& fn) override {
    for (int64_t i = 0; i < count; ++i) fn(i);
  }
};

}  // namespace quantd
