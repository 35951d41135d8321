#include "workers/methods/weight_fit.h"

#include <algorithm>
#include <vector>

#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/linalg/convert.h"

namespace quantd {

void WeightView::ReadRows(int64_t row, int64_t count, float* out) const {
  ToF32(dtype, bytes + row * n * DTypeBytes(dtype), out, count * n);
}

absl::StatusOr<WeightFit> WeightFit::Create(const Spec& spec, const WeightView& weight,
                                            int64_t stripe_rows, Executor& executor,
                                            const CancelToken& cancel) {
  WeightFit result;
  result.spec_ = spec;
  if (spec.partition.granularity != Granularity::kTensor) return result;

  const int64_t stripes = CeilDiv(weight.m, stripe_rows);
  const auto read = [&](int64_t s, std::vector<float>* w) {
    const int64_t row = s * stripe_rows, rows = std::min(stripe_rows, weight.m - row);
    w->resize(rows * weight.n);
    weight.ReadRows(row, rows, w->data());
    return rows;
  };
  TensorFit fit(spec);
  std::vector<TensorFit::Range> ranges(stripes);
  executor.ParallelFor(stripes, [&](int64_t s) {
    if (cancel.cancelled()) return;
    std::vector<float> w;
    const int64_t rows = read(s, &w);
    ranges[s] = TensorFit::RangeOf(w.data(), rows * weight.n);
  });
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  for (const TensorFit::Range& r : ranges) fit.MergeRange(r);
  if (fit.NeedsErrors()) {
    fit.PrepareErrors();
    std::vector<std::vector<double>> errors(stripes);
    executor.ParallelFor(stripes, [&](int64_t s) {
      if (cancel.cancelled()) return;
      std::vector<float> w;
      const int64_t rows = read(s, &w);
      errors[s] = fit.StripeErrors(w.data(), rows, weight.n, &cancel);
    });
    QUANTD_RETURN_IF_ERROR(cancel.Check());
    for (const std::vector<double>& e : errors) fit.MergeErrors(e);
  }
  result.tensor_ = fit.Finish();
  return result;
}

FitFacts WeightFit::Fit(const float* w, Coded* out, const CancelToken& cancel) const {
  if (spec_.partition.granularity != Granularity::kTensor) return FitRows(spec_, w, out, &cancel);
  FillParams(tensor_, out);
  FitFacts facts;
  facts.scale_overflow = tensor_.overflow;
  return facts;
}

}  // namespace quantd
