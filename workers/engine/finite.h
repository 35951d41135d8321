// Weights that hold what no solver can take, found before anything is fitted to them.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/linalg/weight_view.h"

namespace quantd {

struct WeightExtent {
  int64_t first_bad = -1;  // first element that is NaN or infinite, row by row; -1: none
  float largest = 0;       // |w| of the others
};

// One pass over the weight. Errors of the token.
absl::StatusOr<WeightExtent> ExtentOf(const WeightView& weight, Executor& executor,
                                      const CancelToken& cancel);

// |w| of the patch of rows x columns weights where it is largest, and its first element.
struct PatchNorm {
  double norm = 0;
  int64_t row = 0;
  int64_t column = 0;
};

// `rows` divides the weight's rows, `columns` its columns. Errors of the token.
absl::StatusOr<PatchNorm> LargestPatchNorm(const WeightView& weight, int64_t rows, int64_t columns,
                                           Executor& executor, const CancelToken& cancel);

}  // namespace quantd
