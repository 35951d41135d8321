// The quadratic form that a solver measures errors with: H in full, or the identity.
#pragma once

#include <cstdint>

#include "workers/calib/hessian.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"

namespace quantd {

// Read-only after construction; thread-safe.
class Metric {
 public:
  static Metric Identity(int64_t n);
  // Writes H's lower triangle and diagonal, which are workspace, from the upper one. `hessian`
  // outlives it and must not be factored meanwhile.
  static Metric Of(Hessian* hessian, Executor& executor);

  int64_t n() const { return n_; }
  bool identity() const { return square_ == nullptr; }

  // Row i of H: n values, which are also column i. Requires !identity().
  const float* row(int64_t i) const { return square_ + i * n_; }

  // H[begin + a][begin + b] into block [size, size].
  void Block(int64_t begin, int64_t size, float* block) const;

  // out [rows, n] = a [rows, n] H, all F32; polls `cancel` at least every 50 ms and stops early.
  // The result does not depend on threads; it may depend on `rows`.
  void Multiply(const float* a, int64_t rows, float* out, const CancelToken& cancel) const;

 private:
  Metric(const float* square, int64_t n) : square_(square), n_(n) {}

  const float* square_;
  int64_t n_;
};

}  // namespace quantd
