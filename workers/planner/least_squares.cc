#include "workers/planner/least_squares.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace quantd {
namespace {

// Of a column's length: what is left of it beside the columns before it must be above rounding.
constexpr double kDependent = 1e-10;

double Dot(const std::vector<double>& a, const std::vector<double>& b, size_t begin) {
  double sum = 0;
  for (size_t i = begin; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double Norm(const std::vector<double>& a, size_t begin) { return std::sqrt(Dot(a, a, begin)); }

// Reflects `target` at the plane across `mirror`, both from `begin` on.
void Reflect(const std::vector<double>& mirror, size_t begin, std::vector<double>* target) {
  const double scale = 2 * Dot(mirror, *target, begin) / Dot(mirror, mirror, begin);
  for (size_t i = begin; i < target->size(); ++i) (*target)[i] -= scale * mirror[i];
}

// R^-1 of the triangle in the first rows of `columns`: [row][column].
std::vector<std::vector<double>> InverseTriangle(const std::vector<std::vector<double>>& columns) {
  const size_t p = columns.size();
  std::vector<std::vector<double>> inverse(p, std::vector<double>(p, 0.0));
  for (size_t j = 0; j < p; ++j) {
    for (size_t i = j + 1; i-- > 0;) {
      double sum = i == j ? 1 : 0;
      for (size_t k = i + 1; k <= j; ++k) sum -= columns[k][i] * inverse[k][j];
      inverse[i][j] = sum / columns[i][i];
    }
  }
  return inverse;
}

}  // namespace

LeastSquares SolveLeastSquares(std::vector<std::vector<double>> columns,
                               absl::Span<const double> values) {
  const size_t n = values.size(), p = columns.size();
  std::vector<double> rotated(values.begin(), values.end());
  LeastSquares result;
  for (size_t j = 0; j < p; ++j) {
    const double length = Norm(columns[j], 0), left = j < n ? Norm(columns[j], j) : 0;
    if (left <= kDependent * length) {
      result.dependent = static_cast<int>(j);
      return result;
    }
    std::vector<double> mirror = columns[j];
    mirror[j] += std::copysign(left, mirror[j]);
    for (size_t k = j; k < p; ++k) Reflect(mirror, j, &columns[k]);
    Reflect(mirror, j, &rotated);
  }
  const std::vector<std::vector<double>> inverse = InverseTriangle(columns);
  result.squares = Dot(rotated, rotated, p);
  const double variance = n > p ? result.squares / static_cast<double>(n - p) : 0;
  for (const std::vector<double>& row : inverse) {
    double coefficient = 0, squares = 0;
    for (size_t j = 0; j < p; ++j) {
      coefficient += row[j] * rotated[j];
      squares += row[j] * row[j];
    }
    result.coefficients.push_back(coefficient);
    result.errors.push_back(std::sqrt(variance * squares));
  }
  return result;
}

}  // namespace quantd
