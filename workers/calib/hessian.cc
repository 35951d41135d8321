#include "workers/calib/hessian.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/linalg/blas.h"
#include "workers/linalg/convert.h"

namespace quantd {
namespace {

constexpr int64_t kTile = 256;
constexpr double kSymmetryTolerance = 1e-3;
constexpr double kNegativeDiagonal = 1e-6;
constexpr double kDeadFraction = 1e-12;

absl::Status BadEntry(const std::string& tensor, int64_t i, int64_t j, double value,
                      const char* what) {
  return absl::InvalidArgumentError(
      absl::StrCat("tensor '", tensor, "': entry [", i, ", ", j, "] = ", value, " ", what));
}

// Keeps the mean of both triangles in the upper one. Sets *bad to the flat index of some entry that
// is not finite or not symmetric.
void Symmetrize(float* square, int64_t n, int64_t ti, int64_t tj, std::atomic<int64_t>* bad) {
  const int64_t i_end = std::min(n, (ti + 1) * kTile);
  const int64_t j_end = std::min(n, (tj + 1) * kTile);
  for (int64_t i = ti * kTile; i < i_end; ++i) {
    const double hii = square[i * n + i];
    for (int64_t j = std::max(tj * kTile, i + 1); j < j_end; ++j) {
      const double upper = square[i * n + j], lower = square[j * n + i];
      const double scale = std::sqrt(std::max(0.0, hii * square[j * n + j]));
      // Written so that NaN fails.
      if (!(std::abs(upper - lower) <= kSymmetryTolerance * scale)) {
        int64_t none = -1;
        bad->compare_exchange_strong(none, i * n + j);
        return;
      }
      square[i * n + j] = static_cast<float>(0.5 * (upper + lower));
    }
  }
}

void FindNonFinite(const float* square, int64_t n, int64_t ti, std::atomic<int64_t>* bad) {
  const int64_t i_end = std::min(n, (ti + 1) * kTile);
  for (int64_t i = ti * kTile; i < i_end; ++i) {
    for (int64_t j = i; j < n; ++j) {
      if (!std::isfinite(square[i * n + j])) {
        int64_t none = -1;
        bad->compare_exchange_strong(none, i * n + j);
        return;
      }
    }
  }
}

// Zeroes what stands beside dead columns above the diagonal, in the rows of tile ti.
void ClearDead(float* square, int64_t n, int64_t ti, const std::vector<uint8_t>& dead) {
  const int64_t i_end = std::min(n, (ti + 1) * kTile);
  for (int64_t i = ti * kTile; i < i_end; ++i) {
    for (int64_t j = i + 1; j < n; ++j) {
      if (dead[i] || dead[j]) square[i * n + j] = 0;
    }
  }
}

}  // namespace

absl::StatusOr<Hessian> Hessian::Create(Buffer square, int64_t n, Given given,
                                        const std::string& tensor, Executor& executor,
                                        const CancelToken& cancel) {
  Hessian h;
  h.square_ = std::move(square);
  h.n_ = n;
  float* s = h.square();
  const int64_t tiles = CeilDiv(n, kTile);

  std::atomic<int64_t> bad{-1};
  executor.ParallelFor(tiles, [&](int64_t t) {
    if (!cancel.cancelled()) FindNonFinite(s, n, t, &bad);
  });
  if (bad >= 0) return BadEntry(tensor, bad / n, bad % n, s[bad], "is not finite");
  if (given == Given::kFull) {
    executor.ParallelFor(tiles * tiles, [&](int64_t t) {
      if (t / tiles <= t % tiles && !cancel.cancelled()) {
        Symmetrize(s, n, t / tiles, t % tiles, &bad);
      }
    });
    if (bad >= 0) {
      const int64_t i = bad / n, j = bad % n;
      return BadEntry(tensor, i, j, s[i * n + j],
                      absl::StrCat("differs from [", j, ", ", i, "] = ", s[j * n + i],
                                   ": a Hessian is symmetric")
                          .c_str());
    }
  }
  QUANTD_RETURN_IF_ERROR(cancel.Check());

  h.diagonal_.resize(n);
  double largest = 0, sum = 0;
  for (int64_t j = 0; j < n; ++j) {
    h.diagonal_[j] = s[j * n + j];
    largest = std::max(largest, static_cast<double>(h.diagonal_[j]));
    sum += h.diagonal_[j];
  }
  for (int64_t j = 0; j < n; ++j) {
    if (h.diagonal_[j] < -kNegativeDiagonal * largest || (largest == 0 && h.diagonal_[j] < 0)) {
      return BadEntry(tensor, j, j, h.diagonal_[j], "is negative: a Hessian's diagonal is not");
    }
  }
  h.dead_.resize(n);
  double alive_sum = 0;
  for (int64_t j = 0; j < n; ++j) {
    const bool dead = h.diagonal_[j] <= kDeadFraction * (sum / static_cast<double>(n));
    h.dead_[j] = dead;
    h.dead_count_ += dead;
    if (dead) {
      h.diagonal_[j] = 0;
    } else {
      alive_sum += h.diagonal_[j];
    }
  }
  if (h.dead_count_ > 0) {
    executor.ParallelFor(tiles, [&](int64_t t) {
      if (!cancel.cancelled()) ClearDead(s, n, t, h.dead_);
    });
    QUANTD_RETURN_IF_ERROR(cancel.Check());
  }
  if (h.dead_count_ < n) h.mean_diagonal_ = alive_sum / static_cast<double>(n - h.dead_count_);
  return h;
}

void Hessian::CopyRows(int64_t row, int64_t count, float* out) const {
  const float* s = square();
  for (int64_t j = 0; j < row; ++j) {
    for (int64_t r = 0; r < count; ++r) out[r * n_ + j] = s[j * n_ + row + r];
  }
  for (int64_t r = 0; r < count; ++r) {
    const int64_t i = row + r;
    for (int64_t j = row; j < i; ++j) out[r * n_ + j] = s[j * n_ + i];
    out[r * n_ + i] = diagonal_[i];
    std::copy(s + i * n_ + i + 1, s + (i + 1) * n_, out + r * n_ + i + 1);
  }
}

absl::StatusOr<HessianAccumulator> HessianAccumulator::Create(int64_t n,
                                                              const std::string& tensor) {
  HessianAccumulator a;
  a.n_ = n;
  a.tensor_ = tensor;
  const uint64_t columns = static_cast<uint64_t>(n);
  QUANTD_ASSIGN_OR_RETURN(a.sums_, Buffer::Allocate(columns * columns * sizeof(double)));
  QUANTD_ASSIGN_OR_RETURN(a.block_, Buffer::Allocate(columns * kBlockRows * sizeof(float)));
  return a;
}

absl::Status HessianAccumulator::AddValues(const float* values, int64_t count, Executor& executor,
                                           const CancelToken& cancel) {
  const int64_t bad = FirstNonFinite(values, count);
  if (bad >= 0) {
    const int64_t at = values_ + bad;
    return BadEntry(tensor_, at / n_, at % n_, values[bad], "is not finite");
  }
  float* block = block_.As<float>().data();
  const int64_t capacity = kBlockRows * n_;
  while (count > 0) {
    const int64_t filled = values_ % capacity;
    const int64_t take = std::min(count, capacity - filled);
    std::copy_n(values, take, block + filled);
    values_ += take;
    values += take;
    count -= take;
    if (values_ % capacity == 0) FoldBlock(kBlockRows, executor, cancel);
  }
  return cancel.Check();
}

void HessianAccumulator::FoldBlock(int64_t rows, Executor& executor, const CancelToken& cancel) {
  const float* x = block_.As<float>().data();
  double* sums = sums_.As<double>().data();
  const int64_t tiles = CeilDiv(n_, kTile);
  executor.ParallelFor(tiles * tiles, [&](int64_t t) {
    const int64_t i0 = (t / tiles) * kTile, j0 = (t % tiles) * kTile;
    if (i0 > j0 || cancel.cancelled()) return;
    const int64_t ni = std::min(kTile, n_ - i0), nj = std::min(kTile, n_ - j0);
    std::vector<float> product(ni * nj);
    Gemm(true, false, ni, nj, rows, 1.0f, x + i0, n_, x + j0, n_, 0.0f, product.data(), nj);
    for (int64_t i = 0; i < ni; ++i) {
      double* out = sums + (i0 + i) * n_ + j0;
      for (int64_t j = 0; j < nj; ++j) out[j] += product[i * nj + j];
    }
  });
}

absl::StatusOr<Hessian> HessianAccumulator::Finish(Executor& executor, const CancelToken& cancel) {
  if (rows() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", tensor_, "': no rows, so there is no H to accumulate"));
  }
  if (rows() % kBlockRows != 0) FoldBlock(rows() % kBlockRows, executor, cancel);
  block_ = Buffer();
  // In place: F32 entry k never lies behind F64 entry k.
  double* sums = sums_.As<double>().data();
  std::byte* bytes = sums_.data();
  const double tokens = static_cast<double>(rows());
  for (int64_t k = 0; k < n_ * n_; ++k) {
    if (k % n_ == 0) QUANTD_RETURN_IF_ERROR(cancel.Check());
    const float value = static_cast<float>(sums[k] / tokens);
    std::memcpy(bytes + k * sizeof(float), &value, sizeof(value));
  }
  sums_.ShrinkTo(static_cast<uint64_t>(n_) * n_ * sizeof(float));
  return Hessian::Create(std::move(sums_), n_, Hessian::Given::kUpper, tensor_, executor, cancel);
}

}  // namespace quantd
