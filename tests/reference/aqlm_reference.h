// AQLM as its paper runs it (arXiv 2401.06118, section 3; the stopping rule is that of its code),
// in plain loops: residual k-means, then rounds of { 100 Adam steps on codebooks and scales; one
// beam search with one hypothesis }. Slow; patches of one row, one scale a row, nothing rounded.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tests/reference/aqlm_case.h"

namespace quantd::reference {

struct PaperSettings {
  int codebooks = 2;
  int codebook_bits = 8;
  int in_group = 8;
  int iterations = 100;  // of each k-means, at most
  int adam_steps = 100;  // of a round
  double learning_rate = 1e-4;
  double beta1 = 0.90;
  double beta2 = 0.95;
  double tolerance = 0.01;  // a round that gains a smaller share is the last
  int rounds = 100;         // at most
  // Of the order of visits: round r shuffles with seed * 2^32 + 2 r, as BeamPass does.
  uint64_t seed = 0;
};

// Where a k-means starts: `clusters` of the points [count, dim] of codebook `book`.
using PaperSeeds = std::function<std::vector<float>(const std::vector<float>& points, int64_t count,
                                                    int64_t dim, int64_t clusters, int book)>;

// Distinct points at random.
PaperSeeds RandomSeeds(uint64_t seed);

struct PaperResult {
  std::vector<float> decoded;  // [m, n]
  double start = 0;            // relative output error of the k-means alone
  double error = 0;            // at the end
  // After the Adam steps and after the beam search of each round.
  std::vector<double> after_update, after_search;
};

// Requires at least 2^codebook_bits patches.
PaperResult PaperAqlm(const AqlmCase& layer, const PaperSettings& settings,
                      const PaperSeeds& seeds);

}  // namespace quantd::reference
