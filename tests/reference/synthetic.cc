#include "tests/reference/synthetic.h"

#include <cmath>

namespace quantd::reference {

std::vector<float> HeavyTailedWeight(int64_t m, int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<float> w(m * n);
  for (int64_t r = 0; r < m; ++r) {
    const double size = 0.02 * (1 + 0.5 * std::abs(normal(random)));
    for (int64_t c = 0; c < n; ++c) {
      const double chi = (std::pow(normal(random), 2) + std::pow(normal(random), 2) +
                          std::pow(normal(random), 2) + std::pow(normal(random), 2)) /
                         4;
      w[r * n + c] = static_cast<float>(size * normal(random) / std::sqrt(chi + 0.05));
    }
  }
  return w;
}

std::vector<float> CorrelatedActivations(int64_t tokens, int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> loud(n, 1.0);
  for (int64_t c = 0; c < n; c += 17) loud[c] = 10.0;
  std::vector<float> x(tokens * n);
  for (int64_t t = 0; t < tokens; ++t) {
    double state = normal(random);
    for (int64_t c = 0; c < n; ++c) {
      state = 0.5 * state + std::sqrt(0.75) * normal(random);
      x[t * n + c] = static_cast<float>(loud[c] * state);
    }
  }
  return x;
}

std::vector<double> SecondMoment(const std::vector<float>& x, int64_t tokens, int64_t n) {
  std::vector<double> h(n * n);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        h[i * n + j] += static_cast<double>(x[t * n + i]) * x[t * n + j];
      }
    }
  }
  for (double& v : h) v /= static_cast<double>(tokens);
  return h;
}

std::vector<float> ToFloat(const std::vector<double>& v) { return {v.begin(), v.end()}; }

}  // namespace quantd::reference
