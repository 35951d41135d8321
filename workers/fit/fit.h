// How scales and zero codes are found: min-max and shrink search over the range of a group.
//
// All ranges include 0. Parameters are rounded to the stored dtype before anything is computed with
// them. In F32, with lo = min(w, 0), hi = max(w, 0), a = max(-lo, hi) and b bits:
//   asymmetric           s = (hi - lo) / (2^b - 1), z = clamp(rint(-lo / s), 0, 2^b - 1)
//   symmetric min-max    s = 2 a / (2^b - 1)
//   symmetric abs-max    s = a / (2^(b-1) - 1)
//   symmetric full-range s = e / -2^(b-1), e the extreme with its sign (the negative one on a tie)
// An all-zero group has s = 1 and z = 2^(b-1); |s| below the smallest normal number of the stored
// dtype is raised to it. Shrink search takes the factor r_i = 1 - i (1 - shrink_to) / steps on lo
// and hi whose parameters leave the least sum |w - w'|^norm; ties keep the larger range.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "workers/core/cancel.h"
#include "workers/core/coded.h"
#include "workers/core/spec.h"

namespace quantd {

class ShrinkCandidates;

// What went wrong in a stripe of rows.
struct FitFacts {
  // A scale is beyond the largest finite number of the stored dtype: the first such row of the
  // whole weight (row_begin included) and group. That group holds the largest finite scale.
  bool scale_overflow = false;
  int64_t row = 0;
  int64_t group = 0;
};

// Fits every group of a stripe. `w` is [out->rows, out->cols]; `out` has been Reshape'd with the
// same spec and gets scales and zeros. Groups are consecutive columns (group_of_column is not
// read). Not for Granularity::kTensor, which needs the whole weight: see TensorFit.
FitFacts FitRows(const Spec& spec, const float* w, Coded* out, const CancelToken* cancel = nullptr);

struct GroupFit {
  float scale = 1.0f;
  uint8_t zero = 0;
  bool overflow = false;  // as FitFacts::scale_overflow
};

// Parameters of a group with this range (lo <= 0 <= hi), as for FitKind::kMinMax.
GroupFit FitRange(const Spec& spec, float lo, float hi);

// Parameters of one group whose `count` values (>= 1) lie side by side, by the spec's fit.
GroupFit FitGroup(const Spec& spec, const float* values, int64_t count);

// One scale for a whole weight, in passes over stripes that may run in parallel:
//
//   TensorFit fit(spec);
//   for each stripe, any order:      range[i] = TensorFit::RangeOf(w_i, count_i)
//   for each stripe:                 fit.MergeRange(range[i])
//   if (fit.NeedsErrors()) {
//     fit.PrepareErrors()
//     for each stripe, any order:    errors[i] = fit.StripeErrors(w_i, rows_i, n)
//     for each stripe, in order:     fit.MergeErrors(errors[i])
//   }
//   fit.Finish()
//
// The result depends on the stripe boundaries (they fix the order of the sums), not on threads.
class TensorFit {
 public:
  struct Range {
    float lo = 0;
    float hi = 0;
  };

  explicit TensorFit(const Spec& spec);
  TensorFit(TensorFit&&) noexcept;
  TensorFit& operator=(TensorFit&&) noexcept;
  ~TensorFit();

  static Range RangeOf(const float* w, int64_t count);
  void MergeRange(const Range& range);

  // True for shrink search.
  bool NeedsErrors() const { return spec_.fit.kind == FitKind::kShrinkSearch; }
  // Computes the candidates' parameters; all ranges must be merged.
  void PrepareErrors();
  // Sum of errors of every candidate over a stripe [rows, n]. Safe from several threads.
  // Stops early when the token is set.
  std::vector<double> StripeErrors(const float* w, int64_t rows, int64_t n,
                                   const CancelToken* cancel = nullptr) const;
  void MergeErrors(absl::Span<const double> errors);

  GroupFit Finish() const;

 private:
  Spec spec_;
  Range range_;
  std::unique_ptr<ShrinkCandidates> candidates_;
  std::vector<double> errors_;  // [candidates]
};

// Writes one group's parameters to every group of a stripe (Granularity::kTensor).
void FillParams(const GroupFit& fit, Coded* out);

}  // namespace quantd
