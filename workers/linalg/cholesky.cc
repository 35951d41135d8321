#include "workers/linalg/cholesky.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/linalg/blas.h"

namespace quantd {
namespace {

// Depth of one panel: deep enough for GEMM to run at speed, small enough that the serial
// factorization of its diagonal block does not hold up the other threads.
constexpr int64_t kPanel = 256;
// Rows of one unit of parallel work.
constexpr int64_t kTile = 384;

struct TilePair {
  int64_t row, col;
};

}  // namespace

absl::Status CholeskyLower(int64_t n, float* a, Executor& executor, const CancelToken& cancel) {
  for (int64_t k0 = 0; k0 < n; k0 += kPanel) {
    QUANTD_RETURN_IF_ERROR(cancel.Check());
    const int64_t kb = std::min(kPanel, n - k0);
    if (!CholeskyBlockLower(kb, a + k0 * n + k0, n)) {
      return absl::FailedPreconditionError(
          absl::StrCat("not positive definite within columns ", k0, "..", k0 + kb - 1));
    }
    const int64_t begin = k0 + kb;
    const int64_t tiles = CeilDiv(n - begin, kTile);
    auto first = [&](int64_t t) { return begin + t * kTile; };
    auto count = [&](int64_t t) { return std::min(kTile, n - first(t)); };

    executor.ParallelFor(tiles, [&](int64_t t) {
      if (cancel.cancelled()) return;
      SolveRightLowerTransposed(count(t), kb, a + k0 * n + k0, n, a + first(t) * n + k0, n);
    });

    std::vector<TilePair> pairs;
    for (int64_t i = 0; i < tiles; ++i) {
      for (int64_t j = 0; j <= i; ++j) pairs.push_back({i, j});
    }
    executor.ParallelFor(static_cast<int64_t>(pairs.size()), [&](int64_t p) {
      if (cancel.cancelled()) return;
      const auto [i, j] = pairs[p];
      float* c = a + first(i) * n + first(j);
      const float* rows = a + first(i) * n + k0;
      const float* cols = a + first(j) * n + k0;
      if (i == j) {
        SyrkLower(count(i), kb, -1.0f, rows, n, c, n);
      } else {
        Gemm(false, true, count(i), count(j), kb, -1.0f, rows, n, cols, n, 1.0f, c, n);
      }
    });
  }
  return cancel.Check();
}

// Bottom-up by block columns: with M = L^-1 known below and to the right of panel k,
// M[rest, k] = -M[rest, rest] L[rest, k] M[k, k].
absl::Status InvertLower(int64_t n, float* l, Executor& executor, const CancelToken& cancel) {
  const int64_t panels = CeilDiv(n, kPanel);
  std::vector<float> column;
  for (int64_t k = panels - 1; k >= 0; --k) {
    QUANTD_RETURN_IF_ERROR(cancel.Check());
    const int64_t k0 = k * kPanel;
    const int64_t kb = std::min(kPanel, n - k0);
    const int64_t begin = k0 + kb;
    const int64_t rest = n - begin;
    float* diagonal = l + k0 * n + k0;

    // column = L[rest, k] scaled by -L[k, k]^-1 on the right; then multiplied by M[rest, rest].
    column.resize(rest * kb);
    const int64_t tiles = CeilDiv(rest, kTile);
    auto first = [&](int64_t t) { return t * kTile; };
    auto count = [&](int64_t t) { return std::min(kTile, rest - first(t)); };
    executor.ParallelFor(tiles, [&](int64_t t) {
      if (cancel.cancelled()) return;
      for (int64_t r = first(t); r < first(t) + count(t); ++r) {
        std::copy_n(l + (begin + r) * n + k0, kb, column.data() + r * kb);
      }
      NegateSolveRightLower(count(t), kb, diagonal, n, column.data() + first(t) * kb, kb);
    });
    executor.ParallelFor(tiles, [&](int64_t t) {
      if (cancel.cancelled()) return;
      float* out = l + (begin + first(t)) * n + k0;
      const float* row = l + (begin + first(t)) * n + begin;
      for (int64_t r = 0; r < count(t); ++r) {
        std::copy_n(column.data() + (first(t) + r) * kb, kb, out + r * n);
      }
      MultiplyLeftLower(count(t), kb, row + first(t), n, out, n);
      if (first(t) > 0) {
        Gemm(false, false, count(t), kb, first(t), 1.0f, row, n, column.data(), kb, 1.0f, out, n);
      }
    });
    InvertBlockLower(kb, diagonal, n);
  }
  return cancel.Check();
}

}  // namespace quantd
