// Seeded layers with the features that separate methods: correlated inputs, heavy channels, heavy
// tails.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace quantd::reference {

// W [m, n]: Student-t-like rows of different sizes, row-major.
std::vector<float> HeavyTailedWeight(int64_t m, int64_t n, uint64_t seed);

// X [tokens, n]: AR(1) along the columns (0.5) with a few channels ten times louder, row-major.
std::vector<float> CorrelatedActivations(int64_t tokens, int64_t n, uint64_t seed);

// X^T X / T in double, [n, n].
std::vector<double> SecondMoment(const std::vector<float>& x, int64_t tokens, int64_t n);

std::vector<float> ToFloat(const std::vector<double>& v);

}  // namespace quantd::reference
