#include "workers/fit/shrink_search.h"

#include <algorithm>
#include <limits>

namespace quantd {
namespace {

// Candidates that the kernel is asked for at a time.
constexpr int64_t kBatch = 64;

}  // namespace

ShrinkCandidates::ShrinkCandidates(const Spec& spec)
    : rule_(RuleOf(spec)), levels_(spec.levels), norm_(spec.fit.norm) {
  const int steps = spec.fit.steps;
  for (int i = 0; i <= steps; ++i) {
    factor_.push_back(static_cast<float>(1.0 - i * (1.0 - spec.fit.shrink_to) / steps));
  }
  for (auto* v : {&lo_, &hi_, &scale_, &inverse_, &zero_}) v->resize(factor_.size());
  overflow_.resize(factor_.size());
}

void ShrinkCandidates::SetRange(float lo, float hi) {
  for (int64_t k = 0; k < count(); ++k) {
    lo_[k] = lo * factor_[k];
    hi_[k] = hi * factor_[k];
    overflow_[k] = 0;
  }
  const RowKernels& kernels = ActiveRowKernels();
  const int64_t first = kernels.params(rule_, lo_.data(), hi_.data(), count(), scale_.data(),
                                       inverse_.data(), zero_.data());
  if (first < 0) return;
  for (int64_t k = first; k < count(); ++k) {
    float scale, inverse, zero;
    overflow_[k] = kernels.params(rule_, &lo_[k], &hi_[k], 1, &scale, &inverse, &zero) >= 0;
  }
}

void ShrinkCandidates::Errors(const float* values, int64_t n, double* errors) const {
  const float max_code = static_cast<float>(levels_.max_code());
  if (norm_ == 2.0) {
    float sums[kBatch];
    for (int64_t k = 0; k < count(); k += kBatch) {
      const int64_t batch = std::min(kBatch, count() - k);
      ActiveRowKernels().candidate_errors(values, n, scale_.data() + k, inverse_.data() + k,
                                          zero_.data() + k, max_code, batch, sums);
      for (int64_t i = 0; i < batch; ++i) errors[k + i] = sums[i];
    }
  } else {
    ActiveRowKernels().candidate_powers(values, n, scale_.data(), inverse_.data(), zero_.data(),
                                        max_code, norm_, count(), errors);
  }
  for (int64_t k = 0; k < count(); ++k) {
    if (overflow(k)) errors[k] = std::numeric_limits<double>::infinity();
  }
}

int64_t LeastError(const std::vector<double>& errors) {
  int64_t best = 0;
  for (int64_t k = 1; k < static_cast<int64_t>(errors.size()); ++k) {
    if (errors[k] < errors[best]) best = k;
  }
  return best;
}

}  // namespace quantd
