// k-means over vectors and additive codes by trying everything, in double.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/levels/additive.h"

namespace quantd::reference {

// Points that lie in memory.
struct Points {
  int64_t dim = 0;
  std::vector<float> values;  // [count, dim]

  int64_t count() const { return static_cast<int64_t>(values.size()) / dim; }
};

// The nearest of `centers` for each point; the lowest index of several.
std::vector<int> Nearest(const Points& points, const std::vector<float>& centers);

// Sum of squared distances to the nearest center.
double Objective(const Points& points, const std::vector<float>& centers);

// The mean of each center's points; centers without any as they are.
std::vector<double> Means(const Points& points, const std::vector<float>& centers);

// W' [m, n] of an additive code.
std::vector<double> Decode(const AdditiveShape& shape, const AdditiveCode& code);

// |w - d|^2 / |w|^2.
double RelativeError(const std::vector<float>& w, const std::vector<double>& decoded);

// Sum over patches of (w - c) H_jj (w - c)^T / s^2 after all codebooks; blocks [in_groups,
// in_group, in_group].
double BlockLoss(const AdditiveShape& shape, const AdditiveCode& code, const std::vector<float>& w,
                 const std::vector<float>& blocks);

}  // namespace quantd::reference
