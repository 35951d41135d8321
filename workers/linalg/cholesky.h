// Cholesky factorization of a large matrix in place, tiled over an Executor.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"

namespace quantd {

// A = L L^T for a symmetric A [n, n] (row-major F32, leading dimension n) of which only the lower
// triangle with the diagonal is read and overwritten with L; the strict upper triangle is not
// touched. n^3 / 3 flops. The tile plan depends on n alone, so the bits do not depend on the width
// of the executor. Requires InitBlas().
//
// FAILED_PRECONDITION when A is not (numerically) positive definite: the lower triangle is then
// undefined. CANCELLED / DEADLINE_EXCEEDED from the token.
absl::Status CholeskyLower(int64_t n, float* a, Executor& executor, const CancelToken& cancel);

// L <- L^-1 for the lower triangle L [n, n], leading dimension n; the strict upper triangle is not
// touched. n^3 / 3 flops. Errors from the token only.
absl::Status InvertLower(int64_t n, float* l, Executor& executor, const CancelToken& cancel);

}  // namespace quantd
