// GPTQ from its definition, in double: after each column the best update of the free ones is taken
// from the inverse of their own block of H, computed anew. n^4 work; for small n.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace quantd::reference {

// Decoded value of column `column` of row `row` when it is to represent `value`.
using RoundFn = std::function<double(int64_t row, int64_t column, double value)>;
// Called before the first column of each group of `group` consecutive sweep positions is rounded,
// with the current values of the group's columns.
using FitFn = std::function<void(int64_t row, int64_t group, const std::vector<double>& values)>;

// W [m, n], H [n, n] (undamped), lambda added to its diagonal; `sequence` lists columns first to
// last. Returns W' [m, n].
std::vector<double> Gptq(const std::vector<float>& w, int64_t m, int64_t n,
                         const std::vector<double>& h, double lambda,
                         const std::vector<int32_t>& sequence, const RoundFn& round,
                         int64_t dynamic_group = 0, const FitFn& fit = nullptr);

// tr(A H A^T), A [m, n].
double Energy(const std::vector<double>& a, int64_t m, int64_t n, const std::vector<double>& h);

// Inverse of a symmetric positive definite matrix [n, n].
std::vector<double> Inverse(std::vector<double> a, int64_t n);

}  // namespace quantd::reference
