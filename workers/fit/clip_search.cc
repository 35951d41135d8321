#include "workers/fit/clip_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "workers/fit/fit_kernels.h"
#include "workers/fit/shrink_search.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

// Rows that are searched together, one lane each.
constexpr int64_t kRows = 16;

// One thread's work on kRows rows of one group.
class ClipBlock {
 public:
  ClipBlock(const Spec& spec, float tensor_scale, int64_t columns)
      : levels_(spec.levels),
        rule_(LevelRuleOf(spec.levels)),
        candidates_(kRows, ShrinkCandidates(spec, tensor_scale)),
        group_(columns * kRows),
        d_(columns * kRows) {}

  // Columns [begin, begin + count) of rows [row, row + rows), rows <= kRows; the other lanes are 0.
  void Load(const float* w, const uint8_t* skip, int64_t n, int64_t rows, int64_t begin,
            int64_t count) {
    rows_ = rows;
    count_ = count;
    std::fill(group_.begin(), group_.end(), 0.0f);
    skipped_.clear();
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < count; ++j) {
        const int64_t at = r * n + begin + j;
        if (skip != nullptr && skip[at] != 0) {
          skipped_.push_back(j * kRows + r);
        } else {
          group_[j * kRows + r] = w[at];
        }
      }
    }
    for (int64_t r = 0; r < kRows; ++r) {
      float lo = 0.0f, hi = 0.0f;
      for (int64_t j = 0; j < count; ++j) {
        lo = std::min(lo, group_[j * kRows + r]);
        hi = std::max(hi, group_[j * kRows + r]);
      }
      empty_[r] = lo == 0.0f && hi == 0.0f;
      candidates_[r].SetRange(lo, hi);
    }
  }

  // Searches; `h` null: the unit matrix.
  void Search(const float* h, int64_t stride) {
    int64_t candidates = 0;
    for (const auto& c : candidates_) candidates = std::max(candidates, c.count());
    std::fill(best_, best_ + kRows, 0);
    std::fill(least_, least_ + kRows, std::numeric_limits<float>::infinity());
    for (int64_t k = 0; k < candidates; ++k) {
      float losses[kRows];
      Errors(k);
      for (const int64_t at : skipped_) d_[at] = 0.0f;
      if (h != nullptr) {
        ActiveFitKernels().lane_losses(h, stride, count_, d_.data(), losses);
      } else {
        SumSquares(losses);
      }
      for (int64_t r = 0; r < kRows; ++r) {
        if (k >= candidates_[r].count() || candidates_[r].overflow(k)) continue;
        if (losses[r] < least_[r]) {
          least_[r] = losses[r];
          best_[r] = k;
        }
      }
    }
  }

  GroupFit fit(int64_t row) const { return candidates_[row].fit(best_[row]); }
  bool empty(int64_t row) const { return empty_[row]; }

 private:
  // d_ under candidate k of each lane; lanes with fewer candidates repeat their last.
  void Errors(int64_t k) {
    float scale[kRows], inverse[kRows], zero[kRows];
    for (int64_t r = 0; r < kRows; ++r) {
      const int64_t at = std::min(k, candidates_[r].count() - 1);
      scale[r] = candidates_[r].scale(at);
      inverse[r] = candidates_[r].inverse(at);
      zero[r] = candidates_[r].zero(at);
    }
    ActiveFitKernels().lane_errors(rule_, group_.data(), count_, scale, inverse, zero, d_.data());
  }

  void SumSquares(float* losses) const {
    std::fill(losses, losses + kRows, 0.0f);
    for (int64_t j = 0; j < count_; ++j) {
      for (int64_t r = 0; r < kRows; ++r) losses[r] += d_[j * kRows + r] * d_[j * kRows + r];
    }
  }

  Levels levels_;
  LevelRule rule_;
  std::vector<ShrinkCandidates> candidates_;  // [kRows]
  std::vector<float> group_, d_;              // [columns, kRows]
  std::vector<int64_t> skipped_;              // indices into d_
  int64_t rows_ = 0, count_ = 0;
  int64_t best_[kRows];
  float least_[kRows];
  bool empty_[kRows];
};

}  // namespace

void ClipSearchRows(const Spec& spec, const float* w, const FitContext& context, const Coded& out,
                    ParamSink* sink, const CancelToken* cancel) {
  const int64_t columns = out.group_columns;
  ClipBlock block(spec, context.tensor_scale, columns);
  for (int64_t g = 0; g < out.groups; ++g) {
    const int64_t begin = g * columns;
    const int64_t count = std::min(columns, out.cols - begin);
    const float* h = context.hessian_blocks == nullptr
                         ? nullptr
                         : context.hessian_blocks + g * columns * columns;
    for (int64_t row = 0; row < out.rows; row += kRows) {
      if (cancel != nullptr && cancel->cancelled()) return;
      const int64_t rows = std::min(kRows, out.rows - row);
      const uint8_t* skip = context.skip == nullptr ? nullptr : context.skip + row * out.cols;
      block.Load(w + row * out.cols, skip, out.cols, rows, begin, count);
      block.Search(h, columns);
      for (int64_t r = 0; r < rows; ++r) sink->Put(row + r, g, block.fit(r), block.empty(r));
    }
  }
}

}  // namespace quantd
