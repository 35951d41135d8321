#include "workers/engine/finite.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/linalg/convert.h"

namespace quantd {

absl::StatusOr<WeightExtent> ExtentOf(const WeightView& weight, Executor& executor,
                                      const CancelToken& cancel) {
  constexpr int64_t kRows = 64;
  std::vector<WeightExtent> parts(CeilDiv(weight.m, kRows));
  executor.ParallelFor(static_cast<int64_t>(parts.size()), [&](int64_t s) {
    if (cancel.cancelled()) return;
    const int64_t row = s * kRows, count = std::min(kRows, weight.m - row) * weight.n;
    std::vector<float> values(count);
    weight.ReadRows(row, count / weight.n, values.data());
    const int64_t bad = FirstNonFinite(values.data(), count);
    if (bad >= 0) {
      parts[s].first_bad = row * weight.n + bad;
      return;
    }
    float largest = 0;
    for (const float v : values) largest = std::max(largest, std::abs(v));
    parts[s].largest = largest;
  });
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  WeightExtent extent;
  for (const WeightExtent& part : parts) {
    if (extent.first_bad < 0) extent.first_bad = part.first_bad;
    extent.largest = std::max(extent.largest, part.largest);
  }
  return extent;
}

absl::StatusOr<PatchNorm> LargestPatchNorm(const WeightView& weight, int64_t rows, int64_t columns,
                                           Executor& executor, const CancelToken& cancel) {
  const int64_t bands = weight.m / rows, patches = weight.n / columns;
  std::vector<PatchNorm> parts(bands);
  executor.ParallelFor(bands, [&](int64_t b) {
    if (cancel.cancelled()) return;
    std::vector<float> row(weight.n);
    std::vector<double> square(patches, 0.0);
    for (int64_t r = 0; r < rows; ++r) {
      weight.ReadRows(b * rows + r, 1, row.data());
      for (int64_t p = 0; p < patches; ++p) {
        double sum = 0;
        for (int64_t k = p * columns; k < (p + 1) * columns; ++k) {
          sum += static_cast<double>(row[k]) * row[k];
        }
        square[p] += sum;
      }
    }
    const int64_t at = std::max_element(square.begin(), square.end()) - square.begin();
    parts[b] = {std::sqrt(square[at]), b * rows, at * columns};
  });
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  return *std::max_element(parts.begin(), parts.end(),
                           [](const PatchNorm& a, const PatchNorm& b) { return a.norm < b.norm; });
}

}  // namespace quantd
