#include "workers/solve/descent.h"

#include <algorithm>

#include "workers/levels/affine.h"
#include "workers/linalg/blas.h"
#include "workers/linalg/convert.h"
#include "workers/solve/sweep_kernels.h"

namespace quantd {
namespace {

constexpr int64_t kBlock = 128;

// Moves column `column` to its best codes given all others; `gradient` is its column of (W - W') H.
void StepColumn(const Coded& io, int64_t column, float inverse_diagonal, const float* gradient,
                DescentScratch* s, std::vector<float>* change) {
  const int64_t rows = io.rows;
  const float* w = s->weight.data() + column * rows;
  float* error = s->error.data() + column * rows;
  const int64_t lane = io.GroupOf(column) * rows;
  std::vector<float>& target = *change;
  for (int64_t r = 0; r < rows; ++r) target[r] = (w[r] - error[r]) + gradient[r] * inverse_diagonal;
  RoundLanes(io.levels, target.data(), rows, s->scale.data() + lane, s->inverse.data() + lane,
             s->zero.data() + lane, s->codes.data() + column * rows, target.data());
  for (int64_t r = 0; r < rows; ++r) {
    const float now = w[r] - target[r];
    target[r] = error[r] - now;
    error[r] = now;
  }
}

}  // namespace

void DescendRows(const Hessian& hessian, const float* w, int passes, Coded* io, DescentScratch* s,
                 const CancelToken& cancel) {
  const int64_t n = io->cols, rows = io->rows, groups = io->groups;
  s->weight.resize(n * rows);
  s->error.resize(n * rows);
  s->codes.resize(n * rows);
  s->scale.resize(groups * rows);
  s->inverse.resize(groups * rows);
  s->zero.resize(groups * rows);
  std::vector<float> decoded(rows * n), change(rows);
  Dequantize(*io, decoded.data());
  for (int64_t i = 0; i < rows * n; ++i) decoded[i] = w[i] - decoded[i];
  TransposeF32(w, rows, n, n, s->weight.data(), rows);
  TransposeF32(decoded.data(), rows, n, n, s->error.data(), rows);
  TransposeU8(io->codes.data(), rows, n, n, s->codes.data(), rows);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const AffineParams p =
          MakeAffineParams(io->scales[r * groups + g], io->zeros[r * groups + g]);
      s->scale[g * rows + r] = p.scale;
      s->inverse[g * rows + r] = p.inverse;
      s->zero[g * rows + r] = p.zero;
    }
  }
  const SweepKernels& kernels = ActiveSweepKernels();
  s->hessian.resize(kBlock * n);
  s->gradient.resize(kBlock * rows);
  for (int pass = 0; pass < passes; ++pass) {
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      if (cancel.cancelled()) return;
      const int64_t columns = std::min(kBlock, n - begin);
      hessian.CopyRows(begin, columns, s->hessian.data());
      Gemm(false, false, columns, rows, n, 1.0f, s->hessian.data(), n, s->error.data(), rows, 0.0f,
           s->gradient.data(), rows);
      for (int64_t k = 0; k < columns; ++k) {
        const int64_t column = begin + k;
        if (hessian.dead(column)) continue;
        StepColumn(*io, column, 1.0f / hessian.diagonal()[column], s->gradient.data() + k * rows, s,
                   &change);
        // The error of this column fell by `change`, so the gradient of the later ones does too.
        kernels.spread(change.data(), s->hessian.data() + k * n + column + 1, columns - 1 - k, rows,
                       s->gradient.data() + (k + 1) * rows, rows);
      }
    }
  }
  TransposeU8(s->codes.data(), n, rows, rows, io->codes.data(), n);
}

}  // namespace quantd
