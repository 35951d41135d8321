#include "workers/solve/metric.h"

#include <algorithm>

#include "workers/linalg/blas.h"

namespace quantd {
namespace {

constexpr int64_t kTile = 64;     // of the transposition
constexpr int64_t kRows = 256;    // of one product
constexpr double kMacs = 1e9;     // of one product: some 20 ms, so that `cancel` is seen in time
constexpr int64_t kColumns = 64;  // at least, of one product

// Lower triangle and diagonal of rows [begin, end).
void Mirror(absl::Span<const float> diagonal, int64_t begin, int64_t end, float* square) {
  const int64_t n = static_cast<int64_t>(diagonal.size());
  for (int64_t j = 0; j < end; j += kTile) {
    for (int64_t i = std::max(begin, j + 1); i < end; ++i) {
      const int64_t stop = std::min(i, j + kTile);
      for (int64_t c = j; c < stop; ++c) square[i * n + c] = square[c * n + i];
    }
  }
  for (int64_t i = begin; i < end; ++i) square[i * n + i] = diagonal[i];
}

}  // namespace

Metric Metric::Identity(int64_t n) { return Metric(nullptr, n); }

Metric Metric::Of(Hessian* hessian, Executor& executor) {
  const int64_t n = hessian->n();
  float* square = hessian->square();
  executor.ParallelFor((n + kTile - 1) / kTile, [&](int64_t block) {
    const int64_t begin = block * kTile;
    Mirror(hessian->diagonal(), begin, std::min(n, begin + kTile), square);
  });
  return Metric(square, n);
}

void Metric::Block(int64_t begin, int64_t size, float* block) const {
  for (int64_t a = 0; a < size; ++a, block += size) {
    if (identity()) {
      std::fill(block, block + size, 0.0f);
      block[a] = 1.0f;
    } else {
      std::copy(row(begin + a) + begin, row(begin + a) + begin + size, block);
    }
  }
}

void Metric::Multiply(const float* a, int64_t rows, float* out, const CancelToken& cancel) const {
  if (identity()) {
    std::copy(a, a + rows * n_, out);
    return;
  }
  for (int64_t r = 0; r < rows; r += kRows) {
    const int64_t count = std::min(kRows, rows - r);
    const int64_t wanted = static_cast<int64_t>(kMacs / static_cast<double>(count * n_));
    const int64_t columns = std::max(kColumns, wanted / kColumns * kColumns);
    for (int64_t j = 0; j < n_ && !cancel.cancelled(); j += columns) {
      // Columns of H are its rows, which lie together.
      Gemm(false, true, count, std::min(columns, n_ - j), n_, 1.0f, a + r * n_, n_, row(j), n_,
           0.0f, out + r * n_ + j, n_);
    }
  }
}

}  // namespace quantd
