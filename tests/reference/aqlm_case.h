// Made-up layers with known figures for additive quantization: what a solver reaches on them was
// measured once with a plain implementation (docs/quality.md), and information theory says what no
// code can reach.
#pragma once

#include <cstdint>
#include <vector>

namespace quantd::reference {

// Numbers that are the same with every standard library: splitmix64, and Box-Muller on top.
class CaseRandom {
 public:
  explicit CaseRandom(uint64_t seed) : state_(seed) {}

  uint64_t Bits();
  double Uniform();                  // (0, 1]
  double Normal();                   // N(0, 1)
  int64_t Below(int64_t exclusive);  // [0, exclusive), exclusive > 0

 private:
  uint64_t state_;
  double spare_ = 0;
  bool has_spare_ = false;
};

struct AqlmCase {
  int64_t m = 0;
  int64_t n = 0;
  std::vector<float> w;   // [m, n]
  std::vector<double> h;  // [n, n]; empty: the identity
};

// W of independent N(0, 1) numbers, no H.
AqlmCase IndependentCase(int64_t m, int64_t n, uint64_t seed);

// The same W, and H = D A D with its channels permuted: A_kl = 0.9^|k - l|, D_k = exp(0.5 z_k) with
// z_k of N(0, 1), ten times as large for 2 % of the channels (one at least).
AqlmCase CorrelatedCase(int64_t m, int64_t n, uint64_t seed);

// tr(D H D^T) / tr(W H W^T) with D = W - `decoded` [m, n], in double.
double OutputError(const AqlmCase& layer, const std::vector<float>& decoded);
// |D|^2 / |W|^2.
double WeightError(const AqlmCase& layer, const std::vector<float>& decoded);

// The least output error that a code of `bits` per weight, codebooks and scales included, can have
// for independent Gaussian weights: 2^(-2 bits) det(H)^(1/n) / (tr(H) / n). At low rates the true
// bound lies higher. H must be positive definite.
double RateDistortionBound(const AqlmCase& layer, double bits);

// Bits per weight with everything counted: codes, F16 codebooks, one F16 scale a row.
double AllInBits(const AqlmCase& layer, int codebooks, int codebook_bits, int in_group);

}  // namespace quantd::reference
