#include "tests/reference/codebook_reference.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace quantd::reference {
namespace {

double Scale(const AdditiveShape& s, const AdditiveCode& code, int64_t i, int64_t j) {
  return code.scales[i * s.scale_columns + (s.scale_columns == 1 ? 0 : j)];
}

int64_t EntryAt(const AdditiveShape& s, const AdditiveCode& code, int64_t i, int64_t j, int64_t m) {
  return m * s.entries + code.codes[(i * s.in_groups() + j) * s.codebooks + m];
}

std::vector<double> Error(const AdditiveShape& shape, const AdditiveCode& code,
                          const std::vector<float>& w) {
  std::vector<double> d = DecodeAdditive(shape, code);
  for (size_t k = 0; k < d.size(); ++k) d[k] = w[k] - d[k];
  return d;
}

// D H.
std::vector<double> ErrorProduct(const AdditiveShape& shape, const AdditiveCode& code,
                                 const std::vector<float>& w, const std::vector<double>& h) {
  const std::vector<double> d = Error(shape, code, w);
  std::vector<double> t(d.size());
  for (int64_t r = 0; r < shape.m; ++r) {
    for (int64_t k = 0; k < shape.n; ++k) {
      for (int64_t c = 0; c < shape.n; ++c) {
        t[r * shape.n + c] += d[r * shape.n + k] * h[k * shape.n + c];
      }
    }
  }
  return t;
}

}  // namespace

std::vector<double> DecodeAdditive(const AdditiveShape& s, const AdditiveCode& code) {
  std::vector<double> out(s.m * s.n);
  for (int64_t r = 0; r < s.m; ++r) {
    for (int64_t c = 0; c < s.n; ++c) {
      const int64_t i = r / s.out_group, j = c / s.in_group;
      const int64_t place = r % s.out_group * s.in_group + c % s.in_group;
      double sum = 0;
      for (int64_t m = 0; m < s.codebooks; ++m) {
        sum += code.books[EntryAt(s, code, i, j, m) * s.patch() + place];
      }
      out[r * s.n + c] = Scale(s, code, i, j) * sum;
    }
  }
  return out;
}

std::vector<double> AdditiveLosses(const AdditiveShape& shape, const AdditiveCode& code,
                                   const std::vector<float>& w, const std::vector<double>& h) {
  const std::vector<double> d = Error(shape, code, w), t = ErrorProduct(shape, code, w, h);
  std::vector<double> losses(shape.out_groups());
  for (int64_t k = 0; k < shape.m * shape.n; ++k) {
    losses[k / shape.n / shape.out_group] += d[k] * t[k];
  }
  return losses;
}

double AdditiveLoss(const AdditiveShape& shape, const AdditiveCode& code,
                    const std::vector<float>& w, const std::vector<double>& h) {
  const std::vector<double> losses = AdditiveLosses(shape, code, w, h);
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

std::vector<double> BookGradient(const AdditiveShape& s, const AdditiveCode& code,
                                 const std::vector<float>& w, const std::vector<double>& h) {
  const std::vector<double> t = ErrorProduct(s, code, w, h);
  std::vector<double> gradient(s.book_numbers());
  for (int64_t r = 0; r < s.m; ++r) {
    for (int64_t c = 0; c < s.n; ++c) {
      const int64_t i = r / s.out_group, j = c / s.in_group;
      const int64_t place = r % s.out_group * s.in_group + c % s.in_group;
      for (int64_t m = 0; m < s.codebooks; ++m) {
        gradient[EntryAt(s, code, i, j, m) * s.patch() + place] -=
            2 * Scale(s, code, i, j) * t[r * s.n + c];
      }
    }
  }
  return gradient;
}

std::vector<double> ScaleGradientOf(const AdditiveShape& s, const AdditiveCode& code,
                                    const std::vector<float>& w, const std::vector<double>& h) {
  const std::vector<double> t = ErrorProduct(s, code, w, h);
  AdditiveCode plain = code;
  std::fill(plain.scales.begin(), plain.scales.end(), 1.0f);
  const std::vector<double> decoded = DecodeAdditive(s, plain);
  std::vector<double> gradient(s.out_groups() * s.scale_columns);
  for (int64_t k = 0; k < s.m * s.n; ++k) {
    const int64_t i = k / s.n / s.out_group;
    const int64_t j = s.scale_columns == 1 ? 0 : k % s.n / s.in_group;
    gradient[i * s.scale_columns + j] -= 2 * decoded[k] * t[k];
  }
  return gradient;
}

double LeastLossOverBooks(const AdditiveShape& s, const AdditiveCode& code,
                          const std::vector<float>& w, const std::vector<double>& h,
                          std::vector<float>* best) {
  const int64_t numbers = s.book_numbers(), ig = s.in_group, n = s.n;
  std::vector<double> a(numbers * numbers);
  for (int64_t i = 0; i < s.out_groups(); ++i) {
    for (int64_t row = 0; row < s.out_group; ++row) {
      for (int64_t c = 0; c < n; ++c) {
        for (int64_t d = 0; d < n; ++d) {
          const double value = Scale(s, code, i, c / ig) * Scale(s, code, i, d / ig) * h[c * n + d];
          for (int64_t m = 0; m < s.codebooks; ++m) {
            for (int64_t k = 0; k < s.codebooks; ++k) {
              const int64_t x = EntryAt(s, code, i, c / ig, m) * s.patch() + row * ig + c % ig;
              const int64_t y = EntryAt(s, code, i, d / ig, k) * s.patch() + row * ig + d % ig;
              a[x * numbers + y] += value;
            }
          }
        }
      }
    }
  }
  AdditiveCode at = code;
  std::fill(at.books.begin(), at.books.end(), 0.0f);
  std::vector<double> b = BookGradient(s, at, w, h);
  for (double& v : b) v *= -0.5;
  const std::vector<double> x = SolveSemidefinite(a, b);
  if (best != nullptr) best->assign(x.begin(), x.end());
  // The loss at the minimum, without rounding x: |W|^2 - b.x.
  return AdditiveLoss(s, at, w, h) - std::inner_product(x.begin(), x.end(), b.begin(), 0.0);
}

std::vector<double> LeastLossesOverScales(const AdditiveShape& s, const AdditiveCode& code,
                                          int64_t table_entries, const std::vector<float>& w,
                                          const std::vector<double>& h) {
  AdditiveCode at = code;
  std::fill(at.scales.begin(), at.scales.end(), 1.0f);
  const std::vector<double> r = DecodeAdditive(s, at);
  std::fill(at.scales.begin(), at.scales.end(), 0.0f);
  std::vector<double> losses = AdditiveLosses(s, at, w, h);  // of W itself
  const int64_t q = table_entries > 0 ? table_entries : s.scale_columns;
  for (int64_t i = 0; i < s.out_groups(); ++i) {
    const auto parameter = [&](int64_t c) -> int64_t {
      if (s.scale_columns == 1) return 0;
      return table_entries > 0 ? code.scale_codes[i * s.scale_columns + c / s.in_group]
                               : c / s.in_group;
    };
    std::vector<double> a(q * q), b(q);
    for (int64_t row = i * s.out_group; row < (i + 1) * s.out_group; ++row) {
      for (int64_t c = 0; c < s.n; ++c) {
        for (int64_t d = 0; d < s.n; ++d) {
          const double rh = r[row * s.n + c] * h[c * s.n + d];
          a[parameter(c) * q + parameter(d)] += rh * r[row * s.n + d];
          b[parameter(c)] += rh * w[row * s.n + d];
        }
      }
    }
    const std::vector<double> x = SolveSemidefinite(a, b);
    losses[i] -= std::inner_product(x.begin(), x.end(), b.begin(), 0.0);
  }
  return losses;
}

std::vector<double> SolveSemidefinite(std::vector<double> a, const std::vector<double>& b) {
  const int64_t n = static_cast<int64_t>(b.size());
  double largest = 0;
  for (int64_t k = 0; k < n; ++k) largest = std::max(largest, a[k * n + k]);
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> left = b;
  int64_t rank = 0;
  // Gauss-Jordan with the largest diagonal entry that is left as the pivot.
  for (; rank < n; ++rank) {
    const auto pivot =
        std::max_element(order.begin() + rank, order.end(),
                         [&](int64_t x, int64_t y) { return a[x * n + x] < a[y * n + y]; });
    std::swap(order[rank], *pivot);
    const int64_t p = order[rank];
    if (!(a[p * n + p] > 1e-12 * largest)) break;
    for (int64_t r = 0; r < n; ++r) {
      if (r == p || a[r * n + p] == 0) continue;
      const double factor = a[r * n + p] / a[p * n + p];
      for (int64_t c = 0; c < n; ++c) a[r * n + c] -= factor * a[p * n + c];
      left[r] -= factor * left[p];
    }
  }
  std::vector<double> x(n);
  for (int64_t k = 0; k < rank; ++k) x[order[k]] = left[order[k]] / a[order[k] * n + order[k]];
  return x;
}

}  // namespace quantd::reference
