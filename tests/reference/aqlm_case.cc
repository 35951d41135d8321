#include "tests/reference/aqlm_case.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace quantd::reference {
namespace {

constexpr double kTwoPi = 6.283185307179586476925286766559;

std::vector<float> GaussianWeight(int64_t m, int64_t n, CaseRandom* random) {
  std::vector<float> w(m * n);
  for (float& value : w) value = static_cast<float>(random->Normal());
  return w;
}

// tr(A H A^T).
double Energy(const AqlmCase& layer, const std::vector<double>& a) {
  const int64_t n = layer.n;
  if (layer.h.empty()) return std::inner_product(a.begin(), a.end(), a.begin(), 0.0);
  double sum = 0;
  std::vector<double> product(n);
  for (int64_t r = 0; r < layer.m; ++r) {
    const double* row = a.data() + r * n;
    std::fill(product.begin(), product.end(), 0.0);
    for (int64_t k = 0; k < n; ++k) {
      const double* h = layer.h.data() + k * n;
      for (int64_t j = 0; j < n; ++j) product[j] += row[k] * h[j];
    }
    sum += std::inner_product(product.begin(), product.end(), row, 0.0);
  }
  return sum;
}

std::vector<double> Difference(const AqlmCase& layer, const std::vector<float>& decoded) {
  std::vector<double> d(layer.w.size());
  for (size_t i = 0; i < d.size(); ++i) d[i] = static_cast<double>(layer.w[i]) - decoded[i];
  return d;
}

// log det of a positive definite matrix [n, n], by Cholesky.
double LogDeterminant(std::vector<double> a, int64_t n) {
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) {
    double* row = a.data() + j * n;
    for (int64_t i = 0; i <= j; ++i) {
      const double* other = a.data() + i * n;
      const double rest = row[i] - std::inner_product(row, row + i, other, 0.0);
      row[i] = i == j ? std::sqrt(rest) : rest / other[i];
    }
    sum += 2 * std::log(row[j]);
  }
  return sum;
}

}  // namespace

uint64_t CaseRandom::Bits() {
  uint64_t z = state_ += 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

double CaseRandom::Uniform() { return std::ldexp(static_cast<double>((Bits() >> 11) + 1), -53); }

double CaseRandom::Normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2 * std::log(Uniform())), angle = kTwoPi * Uniform();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

int64_t CaseRandom::Below(int64_t exclusive) {
  const auto drawn = static_cast<int64_t>((1 - Uniform()) * static_cast<double>(exclusive));
  return std::min(drawn, exclusive - 1);
}

AqlmCase IndependentCase(int64_t m, int64_t n, uint64_t seed) {
  CaseRandom random(seed);
  return {m, n, GaussianWeight(m, n, &random), {}};
}

AqlmCase CorrelatedCase(int64_t m, int64_t n, uint64_t seed) {
  CaseRandom random(seed);
  AqlmCase layer{m, n, GaussianWeight(m, n, &random), std::vector<double>(n * n)};
  std::vector<double> size(n);
  for (double& d : size) d = std::exp(0.5 * random.Normal());
  std::vector<int64_t> channel(n);
  std::iota(channel.begin(), channel.end(), 0);
  const auto shuffle = [&] {
    for (int64_t i = n - 1; i > 0; --i) std::swap(channel[i], channel[random.Below(i + 1)]);
  };
  shuffle();
  const int64_t loud = std::max<int64_t>(1, std::llround(0.02 * static_cast<double>(n)));
  for (int64_t i = 0; i < loud; ++i) size[channel[i]] *= 10;
  shuffle();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const int64_t k = channel[i], l = channel[j];
      layer.h[i * n + j] = size[k] * size[l] * std::pow(0.9, static_cast<double>(std::abs(k - l)));
    }
  }
  return layer;
}

double OutputError(const AqlmCase& layer, const std::vector<float>& decoded) {
  return Energy(layer, Difference(layer, decoded)) /
         Energy(layer, {layer.w.begin(), layer.w.end()});
}

double WeightError(const AqlmCase& layer, const std::vector<float>& decoded) {
  AqlmCase plain = layer;
  plain.h.clear();
  return OutputError(plain, decoded);
}

double RateDistortionBound(const AqlmCase& layer, double bits) {
  const double rate = std::exp2(-2 * bits);
  if (layer.h.empty()) return rate;
  const auto n = static_cast<double>(layer.n);
  double trace = 0;
  for (int64_t j = 0; j < layer.n; ++j) trace += layer.h[j * layer.n + j];
  return rate * std::exp(LogDeterminant(layer.h, layer.n) / n) / (trace / n);
}

double AllInBits(const AqlmCase& layer, int codebooks, int codebook_bits, int in_group) {
  const auto m = static_cast<double>(layer.m), n = static_cast<double>(layer.n);
  const double book = 16.0 * codebooks * std::exp2(codebook_bits) * in_group;
  return (book + m * n / in_group * codebooks * codebook_bits + 16 * m) / (m * n);
}

}  // namespace quantd::reference
