// GPTQ (arXiv 2210.17323): codes column by column, each column's rounding error pushed onto the
// columns that follow, so that tr((W - W') H (W - W')^T) stays small. methods.md part C is the
// recipe.
//
// Two forms of one algorithm; both go through the positions of a Factor from the last to the first.
// - LDLQ, left-looking and inversion-free: v_k = w_k + sum of (w_j - w'_j) N_jk over the columns j
//   before k, with N = L diag(1 / L_kk). It writes only its own block: one GEMM reads the past.
// - Cholesky, right-looking with lazy blocks: e_k = (a_k - w'_k) / U_kk, a_j -= e_k U_kj. Needed
//   where groups are fitted on compensated values (dynamic groups).
// They choose the same codes up to rounding of the feedback sums.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/calib/factor.h"
#include "workers/core/cancel.h"
#include "workers/core/coded.h"
#include "workers/core/spec.h"
#include "workers/fit/fit.h"

namespace quantd {

// What a sweep over a stripe of rows saw.
struct SweepFacts {
  float max_compensated = 0;  // max |value that was rounded|
  FitFacts fit;               // overflow of a dynamic fit
  // tr(D H_lambda D^T) in the factor's scale, of the codes as the sweep left them: the sum of e^2,
  // which the sweep has at hand. Factor::Undamp() turns it into an energy.
  double damped_loss = 0;
};

// Working memory of one thread, reused from stripe to stripe: about 13 n rows bytes + the factor
// block.
struct SweepScratch {
  std::vector<float> weight;    // W^T [n, rows], original columns
  std::vector<float> state;     // D^T (LDLQ) or A^T (Cholesky) [n, rows], positions
  std::vector<float> block;     // [block, rows]: feedback sums or errors
  std::vector<float> diagonal;  // [block, block]: the factor's diagonal block, transposed for LDLQ
  std::vector<float> scale, inverse, zero;  // [groups, rows]
  std::vector<float> rounded;               // [rows]
  std::vector<float> value;                 // [rows]
  std::vector<float> group_values;          // one row's values of a group
  std::vector<uint8_t> codes;               // [n, rows], original columns
};

// Chooses codes for the stripe `w` [io->rows, n] (row-major, original columns). Static groups:
// scales and zeros in `io` are given (FitRows). Dynamic groups (factor of Form::kInverse only):
// they are fitted here, and io->group_of_column is filled unless the order is natural. Stops early,
// with codes unspecified, when the token is set.
SweepFacts SweepRows(const Factor& factor, const Spec& spec, const float* w, Coded* io,
                     SweepScratch* scratch, const CancelToken& cancel);

}  // namespace quantd
