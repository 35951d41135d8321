// The candidates of one shrink search and their errors. Private to fit/.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/core/spec.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {

inline ParamRule RuleOf(const Spec& spec) {
  return {static_cast<int>(spec.levels.symmetry), static_cast<int>(spec.scale_dtype),
          spec.levels.bits};
}

// Parameters of a group under each shrink factor, largest range first.
class ShrinkCandidates {
 public:
  explicit ShrinkCandidates(const Spec& spec);

  int64_t count() const { return static_cast<int64_t>(factor_.size()); }

  // Sets the candidates of a group with this range (lo <= 0 <= hi).
  void SetRange(float lo, float hi);

  // errors[k] = sum |w - w'|^norm of candidate k over `count` values; infinite for a candidate
  // whose scale overflows the stored dtype.
  void Errors(const float* values, int64_t count, double* errors) const;

  float scale(int64_t k) const { return scale_[k]; }
  float zero(int64_t k) const { return zero_[k]; }
  bool overflow(int64_t k) const { return overflow_[k] != 0; }

 private:
  ParamRule rule_;
  AffineInt levels_;
  double norm_;
  std::vector<float> factor_;  // [candidates], as all below
  std::vector<float> lo_, hi_, scale_, inverse_, zero_;
  std::vector<uint8_t> overflow_;
};

// Index of the least error; the first of equals.
int64_t LeastError(const std::vector<double>& errors);

}  // namespace quantd
