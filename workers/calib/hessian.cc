#include "workers/calib/hessian.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/buffer_copy.h"
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

// Copies tile (ti, tj), ti <= tj, of the strict upper triangle below the diagonal.
void MirrorTile(float* square, int64_t n, int64_t ti, int64_t tj) {
  const int64_t i0 = ti * kTile, j0 = tj * kTile;
  const int64_t i_end = std::min(n, i0 + kTile), j_end = std::min(n, j0 + kTile);
  if (ti < tj) {
    TransposeF32(square + i0 * n + j0, i_end - i0, j_end - j0, n, square + j0 * n + i0, n);
    return;
  }
  for (int64_t i = i0; i < i_end; ++i) {
    for (int64_t j = i + 1; j < j_end; ++j) square[j * n + i] = square[i * n + j];
  }
}

}  // namespace

absl::StatusOr<Hessian> Hessian::Create(Buffer square, int64_t n, Given given,
                                        const std::string& tensor, Executor& executor,
                                        const CancelToken& cancel) {
  Hessian h;
  h.square_ = std::move(square);
  h.n_ = n;
  h.tensor_ = tensor;
  if (given == Given::kFull) {
    float* s = h.square();
    const int64_t tiles = CeilDiv(n, kTile);
    std::atomic<int64_t> bad{-1};
    executor.ParallelFor(tiles, [&](int64_t t) {
      if (!cancel.cancelled()) FindNonFinite(s, n, t, &bad);
    });
    if (bad >= 0) return BadEntry(tensor, bad / n, bad % n, s[bad], "is not finite");
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
  QUANTD_RETURN_IF_ERROR(h.Settle(executor, cancel));
  return h;
}

absl::StatusOr<Hessian> Hessian::Copy(Executor& executor, const CancelToken& cancel) const {
  Hessian h;
  QUANTD_ASSIGN_OR_RETURN(h.square_, CopyOf(square_, executor, cancel));
  h.n_ = n_;
  h.tensor_ = tensor_;
  h.diagonal_ = diagonal_;
  h.dead_ = dead_;
  h.dead_count_ = dead_count_;
  h.mean_diagonal_ = mean_diagonal_;
  return h;
}

absl::Status Hessian::Settle(Executor& executor, const CancelToken& cancel) {
  float* s = square();
  const int64_t n = n_, tiles = CeilDiv(n, kTile);
  std::atomic<int64_t> bad{-1};
  executor.ParallelFor(tiles, [&](int64_t t) {
    if (!cancel.cancelled()) FindNonFinite(s, n, t, &bad);
  });
  if (bad >= 0) return BadEntry(tensor_, bad / n, bad % n, s[bad], "is not finite");
  QUANTD_RETURN_IF_ERROR(cancel.Check());

  diagonal_.resize(n);
  double largest = 0, sum = 0;
  for (int64_t j = 0; j < n; ++j) {
    diagonal_[j] = s[j * n + j];
    largest = std::max(largest, static_cast<double>(diagonal_[j]));
    sum += diagonal_[j];
  }
  for (int64_t j = 0; j < n; ++j) {
    if (diagonal_[j] < -kNegativeDiagonal * largest || (largest == 0 && diagonal_[j] < 0)) {
      return BadEntry(tensor_, j, j, diagonal_[j], "is negative: a Hessian's diagonal is not");
    }
  }
  dead_.resize(n);
  dead_count_ = 0;
  mean_diagonal_ = 1;
  double alive_sum = 0;
  for (int64_t j = 0; j < n; ++j) {
    const bool dead = diagonal_[j] <= kDeadFraction * (sum / static_cast<double>(n));
    dead_[j] = dead;
    dead_count_ += dead;
    if (dead) {
      diagonal_[j] = 0;
    } else {
      alive_sum += diagonal_[j];
    }
  }
  if (dead_count_ > 0) {
    executor.ParallelFor(tiles, [&](int64_t t) {
      if (!cancel.cancelled()) ClearDead(s, n, t, dead_);
    });
    QUANTD_RETURN_IF_ERROR(cancel.Check());
  }
  if (dead_count_ < n) mean_diagonal_ = alive_sum / static_cast<double>(n - dead_count_);
  return absl::OkStatus();
}

absl::Status Hessian::Transform(const std::function<absl::Status(float* square)>& change,
                                Executor& executor, const CancelToken& cancel) {
  float* s = square();
  const int64_t n = n_, tiles = CeilDiv(n, kTile);
  executor.ParallelFor(tiles * tiles, [&](int64_t t) {
    if (t / tiles <= t % tiles && !cancel.cancelled()) MirrorTile(s, n, t / tiles, t % tiles);
  });
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  for (int64_t j = 0; j < n; ++j) s[j * n + j] = diagonal_[j];
  QUANTD_RETURN_IF_ERROR(change(s));
  return Settle(executor, cancel);
}

void Hessian::Blocks(int64_t group, std::vector<float>* out) const {
  out->assign(CeilDiv(n_, group) * group * group, 0.0f);
  const float* s = square();
  for (int64_t begin = 0; begin < n_; begin += group) {
    float* block = out->data() + begin * group;
    const int64_t count = std::min(group, n_ - begin);
    for (int64_t i = 0; i < count; ++i) {
      block[i * group + i] = diagonal_[begin + i];
      for (int64_t j = i + 1; j < count; ++j) {
        block[i * group + j] = block[j * group + i] = s[(begin + i) * n_ + begin + j];
      }
    }
  }
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

absl::Status HessianAccumulator::SetTokenWeights(std::vector<float> weights,
                                                 const std::string& tensor) {
  double sum = 0;
  for (size_t t = 0; t < weights.size(); ++t) {
    if (!std::isfinite(weights[t]) || weights[t] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", tensor, "': entry [", t, "] = ", weights[t],
                       ": a token weight is finite and not negative"));
    }
    sum += weights[t];
  }
  if (sum == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", tensor, "': all ", weights.size(), " token weights are 0"));
  }
  const double mean = sum / static_cast<double>(weights.size());
  for (float& w : weights) w = static_cast<float>(std::sqrt(w / mean));
  row_factors_ = std::move(weights);
  weights_tensor_ = tensor;
  return absl::OkStatus();
}

void HessianAccumulator::CollectChannels() {
  abs_sums_.assign(n_, 0.0);
  abs_max_.assign(n_, 0.0f);
}

absl::Status HessianAccumulator::AddValues(const float* values, int64_t count, Executor& executor,
                                           const CancelToken& cancel) {
  const int64_t bad = FirstNonFinite(values, count);
  if (bad >= 0) {
    const int64_t at = values_ + bad;
    return BadEntry(tensor_, at / n_, at % n_, values[bad], "is not finite");
  }
  const int64_t weighted = static_cast<int64_t>(row_factors_.size());
  if (weighted > 0 && values_ + count > weighted * n_) return BadTokenCount(values_ + count);
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

absl::Status HessianAccumulator::BadTokenCount(int64_t values) const {
  return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor_, "': ", CeilDiv(values, n_),
                                                 " rows, but tensor '", weights_tensor_, "' has ",
                                                 row_factors_.size(), " token weights"));
}

void HessianAccumulator::FoldChannels(int64_t rows, Executor& executor) {
  const float* x = block_.As<float>().data();
  executor.ParallelFor(CeilDiv(n_, kTile), [&](int64_t t) {
    const int64_t end = std::min(n_, (t + 1) * kTile);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = t * kTile; j < end; ++j) {
        const float magnitude = std::abs(x[r * n_ + j]);
        abs_sums_[j] += magnitude;
        abs_max_[j] = std::max(abs_max_[j], magnitude);
      }
    }
  });
}

void HessianAccumulator::FoldBlock(int64_t rows, Executor& executor, const CancelToken& cancel) {
  float* x = block_.As<float>().data();
  double* sums = sums_.As<double>().data();
  if (!abs_sums_.empty()) FoldChannels(rows, executor);
  if (!row_factors_.empty()) {
    const float* factors = row_factors_.data() + (values_ / n_ - rows);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < n_; ++j) x[r * n_ + j] *= factors[r];
    }
  }
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
  if (!row_factors_.empty() && values_ != static_cast<int64_t>(row_factors_.size()) * n_) {
    return BadTokenCount(values_);
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

ChannelStatistics HessianAccumulator::channels() const {
  ChannelStatistics statistics;
  statistics.abs_max = abs_max_;
  statistics.mean_abs.resize(abs_sums_.size());
  for (size_t j = 0; j < abs_sums_.size(); ++j) {
    statistics.mean_abs[j] = static_cast<float>(abs_sums_[j] / static_cast<double>(rows()));
  }
  return statistics;
}

}  // namespace quantd
