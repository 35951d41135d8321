// OpenBLAS behind row-major wrappers, and the choice of its kernel.
//
// The library is loaded at run time, after OPENBLAS_CORETYPE has been set from this CPU's features:
// OpenBLAS 0.3.21 does not know newer CPUs and would fall back to its slowest kernel. A value that
// the environment already holds is kept. It runs single-threaded: parallel work is the Executor's.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace quantd {

// Loads the library, checks a small product against plain loops and remembers what runs. Call
// before any function below; calls after the first are free. FAILED_PRECONDITION when the library
// is missing or its kernel gives wrong products. Thread-safe.
absl::Status InitBlas();

// "OpenBLAS 0.3.21, SkylakeX"; "OpenBLAS not loaded" before InitBlas().
std::string BlasDescription();

// All matrices are row-major F32; ld = elements from one row to the next. Thread-safe.

// C [m, n] = alpha op(A) op(B) + beta C, op(A) is [m, k], op(B) is [k, n].
void Gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
          const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
          int64_t ldc);

// Lower triangle of C [n, n] += alpha A A^T, A is [n, k]. The upper triangle is not touched.
void SyrkLower(int64_t n, int64_t k, float alpha, const float* a, int64_t lda, float* c,
               int64_t ldc);

// B [m, n] = B L^-T for a lower triangle L [n, n].
void SolveRightLowerTransposed(int64_t m, int64_t n, const float* l, int64_t ldl, float* b,
                               int64_t ldb);

// B [m, n] = op(L) B or op(L)^-1 B for a lower triangle L [m, m].
void MultiplyLeftLowerTransposed(int64_t m, int64_t n, const float* l, int64_t ldl, float* b,
                                 int64_t ldb);  // op(L) = L^T
void SolveLeftLowerTransposed(int64_t m, int64_t n, const float* l, int64_t ldl, float* b,
                              int64_t ldb);  // op(L) = L^T
void MultiplyLeftLower(int64_t m, int64_t n, const float* l, int64_t ldl, float* b, int64_t ldb);

// B [m, n] = -B L^-1 for a lower triangle L [n, n].
void NegateSolveRightLower(int64_t m, int64_t n, const float* l, int64_t ldl, float* b,
                           int64_t ldb);

// A [n, n] = L L^T: overwrites the lower triangle with L. False when A is not positive definite
// (the lower triangle is then undefined). The upper triangle is not touched. For blocks; one
// thread.
bool CholeskyBlockLower(int64_t n, float* a, int64_t lda);

// Overwrites the lower triangle L [n, n] with its inverse. For blocks; one thread.
void InvertBlockLower(int64_t n, float* l, int64_t ldl);

}  // namespace quantd
