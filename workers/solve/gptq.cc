#include "workers/solve/gptq.h"

#include <algorithm>
#include <cmath>

#include "workers/core/shape.h"
#include "workers/levels/affine.h"
#include "workers/linalg/blas.h"
#include "workers/linalg/convert.h"
#include "workers/solve/sweep_kernels.h"

namespace quantd {
namespace {

// Rows that go through a block together: a block of errors then stays in the L1 cache.
constexpr int64_t kRowChunk = 64;

float MaxAbs(const float* v, int64_t count) {
  float m = 0;
  for (int64_t i = 0; i < count; ++i) m = std::max(m, std::abs(v[i]));
  return m;
}

// Parameters as [groups, rows]: one lane per row, as the sweep wants them.
void TransposeParams(const Coded& coded, SweepScratch* s) {
  const int64_t rows = coded.rows, groups = coded.groups;
  s->scale.resize(groups * rows);
  s->inverse.resize(groups * rows);
  s->zero.resize(groups * rows);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const AffineParams p =
          MakeAffineParams(coded.scales[r * groups + g], coded.zeros[r * groups + g]);
      s->scale[g * rows + r] = p.scale;
      s->inverse[g * rows + r] = p.inverse;
      s->zero[g * rows + r] = p.zero;
    }
  }
}

class Sweep {
 public:
  Sweep(const Factor& factor, const Spec& spec, Coded* io, SweepScratch* scratch,
        const CancelToken& cancel)
      : factor_(factor),
        spec_(spec),
        io_(io),
        s_(scratch),
        cancel_(cancel),
        kernels_(ActiveSweepKernels()),
        n_(factor.n()),
        rows_(io->rows),
        dynamic_(spec.solve.timing == GroupTiming::kDynamic) {}

  SweepFacts Run(const float* w) {
    s_->weight.resize(n_ * rows_);
    s_->state.resize(n_ * rows_);
    s_->codes.resize(n_ * rows_);
    s_->rounded.resize(rows_);
    s_->value.resize(rows_);
    TransposeF32(w, rows_, n_, n_, s_->weight.data(), rows_);
    if (dynamic_) PrepareDynamicGroups();
    TransposeParams(*io_, s_);
    if (factor_.form() == Factor::Form::kCholesky) {
      LeftLooking();
    } else {
      RightLooking();
    }
    TransposeU8(s_->codes.data(), n_, rows_, rows_, io_->codes.data(), n_);
    return facts_;
  }

 private:
  void LeftLooking() {
    const int64_t width = spec_.solve.block_columns;
    for (int64_t end = n_; end > 0;) {
      if (cancel_.cancelled()) return;
      const int64_t begin = std::max<int64_t>(0, end - width), columns = end - begin;
      s_->block.assign(columns * rows_, 0.0f);
      if (end < n_) {
        Gemm(true, false, columns, rows_, n_ - end, 1.0f, factor_.lower() + end * n_ + begin, n_,
             s_->state.data() + end * rows_, rows_, 0.0f, s_->block.data(), rows_);
      }
      CopyDiagonal(begin, columns, /*transposed=*/true);
      for (int64_t r = 0; r < rows_; r += kRowChunk) {
        LeftChunk(begin, columns, r, std::min(kRowChunk, rows_ - r));
      }
      end = begin;
    }
  }

  void LeftChunk(int64_t begin, int64_t columns, int64_t row, int64_t count) {
    float value[kRowChunk], rounded[kRowChunk];
    for (int64_t k = columns - 1; k >= 0; --k) {
      const int64_t position = begin + k, column = factor_.column_at()[position];
      float* sum = s_->block.data() + k * rows_ + row;
      const float* l = s_->diagonal.data() + k * columns;  // L[begin + j, position] for all j
      kernels_.gather(s_->state.data() + (position + 1) * rows_ + row, rows_, l + k + 1,
                      columns - 1 - k, count, sum);
      const float* w = s_->weight.data() + column * rows_ + row;
      const float inverse_pivot = 1.0f / l[k];
      for (int64_t r = 0; r < count; ++r) value[r] = w[r] + sum[r] * inverse_pivot;
      Round(column, io_->GroupOf(column), row, count, value, rounded);
      float* error = s_->state.data() + position * rows_ + row;
      for (int64_t r = 0; r < count; ++r) error[r] = w[r] - rounded[r];
      // (D L)_k = sum + d_k L_kk is what this column adds to the loss.
      for (int64_t r = 0; r < count; ++r) rounded[r] = sum[r] + error[r] * l[k];
      AddLoss(rounded, count);
    }
  }

  void RightLooking() {
    for (int64_t p = 0; p < n_; ++p) {
      std::copy_n(s_->weight.data() + factor_.column_at()[p] * rows_, rows_,
                  s_->state.data() + p * rows_);
    }
    for (int64_t end = n_; end > 0;) {
      if (cancel_.cancelled()) return;
      const int64_t begin = BlockBegin(end), columns = end - begin;
      s_->block.resize(columns * rows_);
      CopyDiagonal(begin, columns, /*transposed=*/false);
      for (int64_t r = 0; r < rows_; r += kRowChunk) {
        RightChunk(begin, columns, r, std::min(kRowChunk, rows_ - r));
      }
      if (begin > 0) {
        Gemm(true, false, begin, rows_, columns, -1.0f, factor_.lower() + begin * n_, n_,
             s_->block.data(), rows_, 1.0f, s_->state.data(), rows_);
      }
      end = begin;
    }
  }

  void RightChunk(int64_t begin, int64_t columns, int64_t row, int64_t count) {
    float rounded[kRowChunk];
    for (int64_t k = columns - 1; k >= 0; --k) {
      const int64_t position = begin + k, column = factor_.column_at()[position];
      const int64_t sweep = n_ - 1 - position;
      const int64_t group = dynamic_ ? sweep / io_->group_columns : io_->GroupOf(column);
      if (dynamic_ && sweep % io_->group_columns == 0) FitGroupAt(position, group, row, count);
      const float* value = s_->state.data() + position * rows_ + row;
      Round(column, group, row, count, value, rounded);
      const float* u = s_->diagonal.data() + k * columns;  // U of this position, in-block part
      float* error = s_->block.data() + k * rows_ + row;
      const float inverse_pivot = 1.0f / u[k];
      for (int64_t r = 0; r < count; ++r) error[r] = (value[r] - rounded[r]) * inverse_pivot;
      AddLoss(error, count);
      kernels_.spread(error, u, k, count, s_->state.data() + begin * rows_ + row, rows_);
    }
  }

  void Round(int64_t column, int64_t group, int64_t row, int64_t count, const float* value,
             float* rounded) {
    facts_.max_compensated = std::max(facts_.max_compensated, MaxAbs(value, count));
    const int64_t lane = group * rows_ + row;
    RoundLanes(spec_.levels, value, count, s_->scale.data() + lane, s_->inverse.data() + lane,
               s_->zero.data() + lane, s_->codes.data() + column * rows_ + row, rounded);
  }

  void AddLoss(const float* e, int64_t count) {
    double lanes[8] = {};
    for (int64_t r = 0; r < count; ++r) lanes[r % 8] += static_cast<double>(e[r]) * e[r];
    double sum = 0;
    for (const double lane : lanes) sum += lane;
    facts_.damped_loss += sum;
  }

  void CopyDiagonal(int64_t begin, int64_t columns, bool transposed) {
    s_->diagonal.resize(columns * columns);
    const float* lower = factor_.lower() + begin * n_ + begin;
    for (int64_t i = 0; i < columns; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        s_->diagonal[transposed ? j * columns + i : i * columns + j] = lower[i * n_ + j];
      }
    }
  }

  // A dynamic group is fitted on values that hold all feedback so far: blocks never cut one unless
  // the group is wider than a block, and then begin with it.
  int64_t BlockBegin(int64_t end) const {
    int64_t width = spec_.solve.block_columns;
    if (!dynamic_) return std::max<int64_t>(0, end - width);
    const int64_t group = io_->group_columns, sweep = n_ - end;
    if (group <= width) {
      width = width / group * group;
    } else {
      width = std::min(width, group - sweep % group);
    }
    return std::max<int64_t>(0, end - width);
  }

  void PrepareDynamicGroups() {
    io_->scales.assign(io_->rows * io_->groups, 1.0f);
    io_->zeros.assign(io_->rows * io_->groups, 0);
    io_->group_of_column.clear();
    if (spec_.solve.order == Order::kNatural) return;
    io_->group_of_column.resize(n_);
    for (int64_t p = 0; p < n_; ++p) {
      io_->group_of_column[factor_.column_at()[p]] =
          static_cast<int32_t>((n_ - 1 - p) / io_->group_columns);
    }
    // An order that leaves every column in its natural group needs no index, and layouts store
    // none.
    bool natural = true;
    for (int64_t c = 0; c < n_; ++c) {
      natural &= io_->group_of_column[c] == c / io_->group_columns;
    }
    if (natural) io_->group_of_column.clear();
  }

  void FitGroupAt(int64_t position, int64_t group, int64_t row, int64_t count) {
    const int64_t columns = std::min(io_->group_columns, position + 1);
    s_->group_values.resize(columns);
    for (int64_t r = row; r < row + count; ++r) {
      for (int64_t j = 0; j < columns; ++j) {
        s_->group_values[j] = s_->state[(position - j) * rows_ + r];
      }
      const GroupFit fit = FitGroup(spec_, s_->group_values.data(), columns);
      if (fit.overflow && !facts_.fit.scale_overflow) {
        facts_.fit = {true, io_->row_begin + r, group};
      }
      io_->scales[r * io_->groups + group] = fit.scale;
      io_->zeros[r * io_->groups + group] = fit.zero;
      const AffineParams p = MakeAffineParams(fit.scale, fit.zero);
      s_->scale[group * rows_ + r] = p.scale;
      s_->inverse[group * rows_ + r] = p.inverse;
      s_->zero[group * rows_ + r] = p.zero;
    }
  }

  const Factor& factor_;
  const Spec& spec_;
  Coded* io_;
  SweepScratch* s_;
  const CancelToken& cancel_;
  const SweepKernels& kernels_;
  const int64_t n_;
  const int64_t rows_;
  const bool dynamic_;
  SweepFacts facts_;
};

}  // namespace

SweepFacts SweepRows(const Factor& factor, const Spec& spec, const float* w, Coded* io,
                     SweepScratch* scratch, const CancelToken& cancel) {
  return Sweep(factor, spec, io, scratch, cancel).Run(w);
}

}  // namespace quantd
