#include "tests/reference/gptq_reference.h"

#include <algorithm>
#include <utility>

namespace quantd::reference {

std::vector<double> Inverse(std::vector<double> a, int64_t n) {
  std::vector<double> inverse(n * n);
  for (int64_t i = 0; i < n; ++i) inverse[i * n + i] = 1;
  for (int64_t p = 0; p < n; ++p) {  // Gauss-Jordan; pivots of a positive definite matrix are safe
    const double pivot = a[p * n + p];
    for (int64_t j = 0; j < n; ++j) {
      a[p * n + j] /= pivot;
      inverse[p * n + j] /= pivot;
    }
    for (int64_t i = 0; i < n; ++i) {
      const double f = a[i * n + p];
      if (i == p || f == 0) continue;
      for (int64_t j = 0; j < n; ++j) {
        a[i * n + j] -= f * a[p * n + j];
        inverse[i * n + j] -= f * inverse[p * n + j];
      }
    }
  }
  return inverse;
}

std::vector<double> Gptq(const std::vector<float>& w, int64_t m, int64_t n,
                         const std::vector<double>& h, double lambda,
                         const std::vector<int32_t>& sequence, const RoundFn& round,
                         int64_t dynamic_group, const FitFn& fit) {
  std::vector<double> value(w.begin(), w.end());
  for (int64_t s = 0; s < n; ++s) {
    const int64_t free = n - s;
    std::vector<double> block(free * free);
    for (int64_t i = 0; i < free; ++i) {
      for (int64_t j = 0; j < free; ++j) {
        block[i * free + j] = h[sequence[s + i] * n + sequence[s + j]] + (i == j ? lambda : 0);
      }
    }
    const std::vector<double> inverse = Inverse(std::move(block), free);
    const int64_t column = sequence[s];
    for (int64_t r = 0; r < m; ++r) {
      if (dynamic_group > 0 && s % dynamic_group == 0) {
        std::vector<double> group;
        for (int64_t j = s; j < std::min(n, s + dynamic_group); ++j) {
          group.push_back(value[r * n + sequence[j]]);
        }
        fit(r, s / dynamic_group, group);
      }
      const double rounded = round(r, column, value[r * n + column]);
      const double error = (value[r * n + column] - rounded) / inverse[0];
      for (int64_t j = 1; j < free; ++j) value[r * n + sequence[s + j]] -= error * inverse[j];
      value[r * n + column] = rounded;
    }
  }
  return value;
}

double Energy(const std::vector<double>& a, int64_t m, int64_t n, const std::vector<double>& h) {
  double sum = 0;
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) sum += a[r * n + i] * h[i * n + j] * a[r * n + j];
    }
  }
  return sum;
}

}  // namespace quantd::reference
