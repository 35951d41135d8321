#include "tests/reference/beam_reference.h"

#include <algorithm>
#include <utility>

namespace quantd::reference {

double OutGroupLoss(const AdditiveShape& shape, const std::vector<float>& books, const float* w,
                    const float* scales, const std::vector<double>& h,
                    const std::vector<uint16_t>& codes) {
  const int64_t n = shape.n, in = shape.in_group;
  double loss = 0;
  for (int64_t a = 0; a < shape.out_group; ++a) {
    std::vector<double> d(n);
    for (int64_t k = 0; k < n; ++k) {
      const int64_t j = k / in;
      double sum = 0;
      for (int64_t m = 0; m < shape.codebooks; ++m) {
        const int64_t entry = m * shape.entries + codes[j * shape.codebooks + m];
        sum += books[(entry * shape.out_group + a) * in + k % in];
      }
      d[k] = w[a * n + k] - scales[shape.scale_columns > 1 ? j : 0] * sum;
    }
    for (int64_t k = 0; k < n; ++k) {
      for (int64_t l = 0; l < n; ++l) loss += d[k] * h[k * n + l] * d[l];
    }
  }
  return loss;
}

std::vector<uint16_t> BeamSearchOutGroup(const AdditiveShape& shape,
                                         const std::vector<float>& books, const float* w,
                                         const float* scales, const std::vector<double>& h,
                                         const BeamOrder& order, int beam,
                                         std::vector<uint16_t> codes) {
  using Hypothesis = std::pair<double, std::vector<uint16_t>>;
  const auto less = [](const Hypothesis& a, const Hypothesis& b) { return a.first < b.first; };
  std::vector<Hypothesis> kept = {
      {OutGroupLoss(shape, books, w, scales, h, codes), std::move(codes)}};
  for (size_t visit = 0; visit < order.in_groups.size(); ++visit) {
    const int64_t j = order.in_groups[visit];
    for (const int32_t m : order.books[j]) {
      std::vector<Hypothesis> all = kept;
      for (const Hypothesis& parent : kept) {
        for (int64_t c = 0; c < shape.entries; ++c) {
          Hypothesis child = parent;
          uint16_t& code = child.second[j * shape.codebooks + m];
          if (code == c) continue;
          code = static_cast<uint16_t>(c);
          child.first = OutGroupLoss(shape, books, w, scales, h, child.second);
          all.push_back(std::move(child));
        }
      }
      std::stable_sort(all.begin(), all.end(), less);
      all.resize(std::min<size_t>(all.size(), beam));
      kept = std::move(all);
    }
  }
  return kept.front().second;
}

}  // namespace quantd::reference
