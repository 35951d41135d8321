#include "workers/calib/factor.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/linalg/blas.h"
#include "workers/linalg/cholesky.h"

namespace quantd {
namespace {

constexpr int64_t kTile = 128;   // of the permuted copy: two tiles fit in L1/L2
constexpr int64_t kPanel = 256;  // of Energy()

// Position tile (ti, tj), ti >= tj, of the workspace: P H P^T / mean with the diagonal raised by
// lambda. Dead columns get the mean as their diagonal, so the sweep rounds them to nearest.
void FillTile(const Hessian& h, absl::Span<const int32_t> column_at, double lambda, int64_t ti,
              int64_t tj, float* square) {
  const int64_t n = h.n();
  const double inverse_mean = 1.0 / h.mean_diagonal();
  const float* upper = h.square();
  const int64_t i_end = std::min(n, (ti + 1) * kTile);
  for (int64_t i = ti * kTile; i < i_end; ++i) {
    const int64_t a = column_at[i];
    const int64_t j_end = std::min((tj + 1) * kTile, i);
    for (int64_t j = tj * kTile; j < j_end; ++j) {
      const int64_t b = column_at[j];
      square[i * n + j] =
          static_cast<float>((a < b ? upper[a * n + b] : upper[b * n + a]) * inverse_mean);
    }
    if (ti == tj) {
      const double diagonal = h.dead(a) ? 1.0 : h.diagonal()[a] / h.mean_diagonal();
      square[i * n + i] = static_cast<float>(diagonal + lambda);
    }
  }
}

// Sum of squares of x [rows, n] in double, row by row.
double SumOfSquares(const float* x, int64_t count) {
  double lanes[16] = {};
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (int l = 0; l < 16; ++l) lanes[l] += static_cast<double>(x[i + l]) * x[i + l];
  }
  for (int l = 0; i < count; ++i, ++l) lanes[l] += static_cast<double>(x[i]) * x[i];
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

std::vector<int32_t> SweepOrder(Order order, int64_t group_columns, const Hessian& hessian) {
  const int64_t n = hessian.n();
  std::vector<int32_t> sequence(n);
  std::iota(sequence.begin(), sequence.end(), 0);
  const absl::Span<const float> d = hessian.diagonal();
  const auto heavier = [&](int32_t a, int32_t b) { return d[a] > d[b]; };
  if (order == Order::kActOrder) {
    std::stable_sort(sequence.begin(), sequence.end(), heavier);
  } else if (order == Order::kGroupAware) {
    const int64_t groups = CeilDiv(n, group_columns);
    for (int64_t g = 0; g < groups; ++g) {
      std::stable_sort(sequence.begin() + g * group_columns,
                       sequence.begin() + std::min(n, (g + 1) * group_columns), heavier);
    }
    std::vector<int64_t> by_peak(groups);
    std::iota(by_peak.begin(), by_peak.end(), 0);
    std::stable_sort(by_peak.begin(), by_peak.end(), [&](int64_t a, int64_t b) {
      return d[sequence[a * group_columns]] > d[sequence[b * group_columns]];
    });
    std::vector<int32_t> arranged;
    arranged.reserve(n);
    for (int64_t g : by_peak) {
      arranged.insert(arranged.end(), sequence.begin() + g * group_columns,
                      sequence.begin() + std::min(n, (g + 1) * group_columns));
    }
    sequence = std::move(arranged);
  }
  std::reverse(sequence.begin(), sequence.end());
  return sequence;
}

absl::StatusOr<Factor> Factor::Create(Hessian* hessian, std::vector<int32_t> column_at,
                                      const Damping& damping, Form form, Executor& executor,
                                      const CancelToken& cancel) {
  Factor f;
  f.hessian_ = hessian;
  f.column_at_ = std::move(column_at);
  f.form_ = form;
  const int64_t n = hessian->n();
  const int64_t tiles = CeilDiv(n, kTile);
  const int rungs = LadderRetries(damping);
  double fraction = damping.fraction;
  for (int rung = 0; rung <= rungs; ++rung) {
    executor.ParallelFor(tiles * tiles, [&](int64_t t) {
      if (t / tiles >= t % tiles && !cancel.cancelled()) {
        FillTile(*hessian, f.column_at_, fraction, t / tiles, t % tiles, hessian->square());
      }
    });
    const absl::Status factored = CholeskyLower(n, hessian->square(), executor, cancel);
    if (factored.ok()) {
      f.damping_fraction_ = fraction;
      f.retries_ = rung;
      if (form == Form::kInverse) {
        QUANTD_RETURN_IF_ERROR(InvertLower(n, hessian->square(), executor, cancel));
      }
      return f;
    }
    if (factored.code() != absl::StatusCode::kFailedPrecondition) return factored;
    fraction = fraction > 0 ? fraction * damping.step : Damping().fraction;
    fraction = std::min(fraction, damping.limit);
  }
  return absl::FailedPreconditionError(
      absl::StrCat("H is not positive definite at any damping from ", damping.fraction, " to ",
                   damping.limit, " of its mean diagonal (", rungs + 1, " tries)"));
}

double Factor::Energy(float* at, int64_t rows, std::vector<float>* scratch,
                      const CancelToken& cancel) const {
  const int64_t size = n();
  const float* l = lower();
  for (int64_t i = 0; i < size; ++i) {
    if (hessian_->dead(column_at_[i])) std::fill_n(at + i * rows, rows, 0.0f);
  }
  double damped = 0;
  if (form_ == Form::kCholesky) {
    // |A L|^2 by panels of L's columns: (A L)^T [panel] = L[panel.., panel]^T A^T[panel..].
    scratch->resize(kPanel * rows);
    for (int64_t p0 = 0; p0 < size; p0 += kPanel) {
      if (cancel.cancelled()) return 0;
      const int64_t pb = std::min(kPanel, size - p0), begin = p0 + pb;
      std::copy_n(at + p0 * rows, pb * rows, scratch->data());
      MultiplyLeftLowerTransposed(pb, rows, l + p0 * size + p0, size, scratch->data(), rows);
      if (begin < size) {
        Gemm(true, false, pb, rows, size - begin, 1.0f, l + begin * size + p0, size,
             at + begin * rows, rows, 1.0f, scratch->data(), rows);
      }
      damped += SumOfSquares(scratch->data(), pb * rows);
    }
  } else {
    // X = A L solves (L^-1)^T X^T = A^T, from the last panel up.
    scratch->resize(size * rows);
    for (int64_t p0 = (size - 1) / kPanel * kPanel; p0 >= 0; p0 -= kPanel) {
      if (cancel.cancelled()) return 0;
      const int64_t pb = std::min(kPanel, size - p0), begin = p0 + pb;
      float* x = scratch->data() + p0 * rows;
      std::copy_n(at + p0 * rows, pb * rows, x);
      if (begin < size) {
        Gemm(true, false, pb, rows, size - begin, -1.0f, l + begin * size + p0, size,
             scratch->data() + begin * rows, rows, 1.0f, x, rows);
      }
      SolveLeftLowerTransposed(pb, rows, l + p0 * size + p0, size, x, rows);
      damped += SumOfSquares(x, pb * rows);
    }
  }
  double squares = 0;
  for (int64_t i = 0; i < size; ++i) squares += SumOfSquares(at + i * rows, rows);
  const double energy = damped - damping_fraction_ * squares;
  return std::max(0.0, energy) * hessian_->mean_diagonal();
}

double Factor::Undamp(double damped, const float* a, int64_t rows) const {
  const int64_t size = n();
  double squares = SumOfSquares(a, rows * size), dead_squares = 0;
  if (hessian_->dead_columns() > 0) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < size; ++j) {
        const double v = a[r * size + j];
        if (hessian_->dead(j)) dead_squares += v * v;
      }
    }
  }
  const double energy = damped - damping_fraction_ * squares - dead_squares;
  return std::max(0.0, energy) * hessian_->mean_diagonal();
}

double EnergyWithoutFactor(const Hessian& hessian, const float* at, int64_t rows,
                           std::vector<float>* scratch, const CancelToken& cancel) {
  const int64_t n = hessian.n();
  const float* h = hessian.square();
  scratch->resize(kPanel * kPanel + kPanel * rows);
  float* block = scratch->data();
  float* product = scratch->data() + kPanel * kPanel;
  double energy = 0;
  for (int64_t p0 = 0; p0 < n; p0 += kPanel) {
    if (cancel.cancelled()) return 0;
    const int64_t pb = std::min(kPanel, n - p0), after = p0 + pb;
    // a H a^T takes every pair of columns twice: half the diagonal, then all that is right of it.
    for (int64_t i = 0; i < pb; ++i) {
      std::fill_n(block + i * pb, i, 0.0f);
      block[i * pb + i] = 0.5f * hessian.diagonal()[p0 + i];
      std::copy(h + (p0 + i) * n + p0 + i + 1, h + (p0 + i) * n + after, block + i * pb + i + 1);
    }
    Gemm(false, false, pb, rows, pb, 1.0f, block, pb, at + p0 * rows, rows, 0.0f, product, rows);
    if (after < n) {
      Gemm(false, false, pb, rows, n - after, 1.0f, h + p0 * n + after, n, at + after * rows, rows,
           1.0f, product, rows);
    }
    for (int64_t i = 0; i < pb; ++i) {
      double lanes[16] = {};
      const float* a = at + (p0 + i) * rows;
      const float* b = product + i * rows;
      for (int64_t r = 0; r < rows; ++r) lanes[r % 16] += static_cast<double>(a[r]) * b[r];
      double sum = 0;
      for (double lane : lanes) sum += lane;
      energy += sum;
    }
  }
  return std::max(0.0, 2 * energy);
}

}  // namespace quantd
