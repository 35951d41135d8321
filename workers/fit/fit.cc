#include "workers/fit/fit.h"

#include <algorithm>

#include "workers/fit/shrink_search.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

void NoteOverflow(const Coded& out, int64_t row, int64_t group, FitFacts* facts) {
  if (facts->scale_overflow) return;
  *facts = {true, out.row_begin + row, group};
}

GroupFit Search(ShrinkCandidates* candidates, const float* values, int64_t count,
                std::vector<double>* errors) {
  float lo, hi;
  ActiveRowKernels().ranges(values, count, count, &lo, &hi);
  candidates->SetRange(lo, hi);
  errors->resize(candidates->count());
  candidates->Errors(values, count, errors->data());
  const int64_t best = LeastError(*errors);
  return {candidates->scale(best), static_cast<uint8_t>(candidates->zero(best)),
          candidates->overflow(best)};
}

FitFacts SearchRows(const Spec& spec, const float* w, Coded* out, const CancelToken* cancel) {
  FitFacts facts;
  ShrinkCandidates candidates(spec);
  std::vector<double> errors;
  for (int64_t r = 0; r < out->rows; ++r) {
    for (int64_t g = 0; g < out->groups; ++g) {
      if (cancel != nullptr && cancel->cancelled()) return facts;
      const int64_t begin = g * out->group_columns;
      const GroupFit fit = Search(&candidates, w + r * out->cols + begin,
                                  std::min(out->group_columns, out->cols - begin), &errors);
      out->scales[r * out->groups + g] = fit.scale;
      out->zeros[r * out->groups + g] = fit.zero;
      if (fit.overflow) NoteOverflow(*out, r, g, &facts);
    }
  }
  return facts;
}

FitFacts MinMaxRows(const Spec& spec, const float* w, Coded* out) {
  FitFacts facts;
  const RowKernels& kernels = ActiveRowKernels();
  const ParamRule rule = RuleOf(spec);
  const int64_t groups = out->groups;
  std::vector<float> lo(groups), hi(groups), inverse(groups), zero(groups);
  for (int64_t r = 0; r < out->rows; ++r) {
    kernels.ranges(w + r * out->cols, out->cols, out->group_columns, lo.data(), hi.data());
    const int64_t overflow =
        kernels.params(rule, lo.data(), hi.data(), groups, out->scales.data() + r * groups,
                       inverse.data(), zero.data());
    uint8_t* zeros = out->zeros.data() + r * groups;
    for (int64_t g = 0; g < groups; ++g) zeros[g] = static_cast<uint8_t>(static_cast<int>(zero[g]));
    if (overflow >= 0) NoteOverflow(*out, r, overflow, &facts);
  }
  return facts;
}

}  // namespace

FitFacts FitRows(const Spec& spec, const float* w, Coded* out, const CancelToken* cancel) {
  return spec.fit.kind == FitKind::kShrinkSearch ? SearchRows(spec, w, out, cancel)
                                                 : MinMaxRows(spec, w, out);
}

GroupFit FitRange(const Spec& spec, float lo, float hi) {
  GroupFit fit;
  float inverse, zero;
  fit.overflow =
      ActiveRowKernels().params(RuleOf(spec), &lo, &hi, 1, &fit.scale, &inverse, &zero) >= 0;
  fit.zero = static_cast<uint8_t>(zero);
  return fit;
}

GroupFit FitGroup(const Spec& spec, const float* values, int64_t count) {
  if (spec.fit.kind == FitKind::kShrinkSearch) {
    ShrinkCandidates candidates(spec);
    std::vector<double> errors;
    return Search(&candidates, values, count, &errors);
  }
  float lo, hi;
  ActiveRowKernels().ranges(values, count, count, &lo, &hi);
  return FitRange(spec, lo, hi);
}

void FillParams(const GroupFit& fit, Coded* out) {
  std::fill(out->scales.begin(), out->scales.end(), fit.scale);
  std::fill(out->zeros.begin(), out->zeros.end(), fit.zero);
}

}  // namespace quantd
