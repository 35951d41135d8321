// Scales of one weight: per stripe where groups lie inside a row, over the whole weight first for
// one scale per tensor.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "workers/core/cancel.h"
#include "workers/core/coded.h"
#include "workers/core/executor.h"
#include "workers/core/spec.h"
#include "workers/fit/fit.h"

namespace quantd {

// An m x n weight as it was uploaded: row-major, dtype F32, F16 or BF16, any alignment.
struct WeightView {
  DType dtype = DType::kUnspecified;
  const std::byte* bytes = nullptr;
  int64_t m = 0;
  int64_t n = 0;

  // Rows [row, row + count) as F32 into out [count, n].
  void ReadRows(int64_t row, int64_t count, float* out) const;
};

class WeightFit {
 public:
  // Passes over the weight only for Granularity::kTensor. The result depends on stripe_rows, not on
  // the executor's width. Errors of the token only.
  static absl::StatusOr<WeightFit> Create(const Spec& spec, const WeightView& weight,
                                          int64_t stripe_rows, Executor& executor,
                                          const CancelToken& cancel);

  // Fills scales and zeros of `out` for its stripe `w` [out->rows, n]; stops early when the token
  // is set.
  FitFacts Fit(const float* w, Coded* out, const CancelToken& cancel) const;

 private:
  Spec spec_;
  GroupFit tensor_;  // kTensor only
};

}  // namespace quantd
