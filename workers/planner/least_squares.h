// Least squares of a few columns by Householder reflections, in double.
#pragma once

#include <vector>

#include "absl/types/span.h"

namespace quantd {

struct LeastSquares {
  std::vector<double> coefficients;  // by column
  std::vector<double> errors;        // standard errors; 0 when no degree of freedom is left
  double squares = 0;                // sum of the squared residuals
  int dependent = -1;  // a column that follows from those before it: then nothing else is filled in
};

// `columns` are `values.size()` long each.
LeastSquares SolveLeastSquares(std::vector<std::vector<double>> columns,
                               absl::Span<const double> values);

}  // namespace quantd
