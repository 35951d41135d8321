// Losses, gradients and minima of an additive code by their definitions, in double: what
// solve/codebook_update is compared with. For tiny weights.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/levels/additive.h"

namespace quantd::reference {

// W' [m, n].
std::vector<double> DecodeAdditive(const AdditiveShape& shape, const AdditiveCode& code);

// D = W - W' of every out group, and its d H d^T summed over its rows. H [n, n].
std::vector<double> AdditiveLosses(const AdditiveShape& shape, const AdditiveCode& code,
                                   const std::vector<float>& w, const std::vector<double>& h);
double AdditiveLoss(const AdditiveShape& shape, const AdditiveCode& code,
                    const std::vector<float>& w, const std::vector<double>& h);

// dLoss / dbooks [M, 2^B, out_group, in_group] and dLoss / dscales [out groups, scale_columns].
std::vector<double> BookGradient(const AdditiveShape& shape, const AdditiveCode& code,
                                 const std::vector<float>& w, const std::vector<double>& h);
std::vector<double> ScaleGradientOf(const AdditiveShape& shape, const AdditiveCode& code,
                                    const std::vector<float>& w, const std::vector<double>& h);

// The least loss that any codebooks give for the codes and scales of `code`: dense normal
// equations, (M 2^B patch)^3 / 3 work. `best` (may be null) gets codebooks that reach it.
double LeastLossOverBooks(const AdditiveShape& shape, const AdditiveCode& code,
                          const std::vector<float>& w, const std::vector<double>& h,
                          std::vector<float>* best = nullptr);

// The least loss of each out group over its scales, or over the entries of its table where `code`
// has tables of `table_entries` (0: none).
std::vector<double> LeastLossesOverScales(const AdditiveShape& shape, const AdditiveCode& code,
                                          int64_t table_entries, const std::vector<float>& w,
                                          const std::vector<double>& h);

// x with A x = b for a symmetric positive semidefinite A [n, n] and b in its range; unknowns that A
// does not determine are 0.
std::vector<double> SolveSemidefinite(std::vector<double> a, const std::vector<double>& b);

}  // namespace quantd::reference
