// Coordinate descent on tr((W - W') H (W - W')^T), parameters frozen: no factorization at all.
//
// methods.md C.5: w'_k <- Q(w'_k + ((W - W') H)_k / H_kk), column by column in original order. With
// a nearest-level Q no step raises the loss. 2 m n^2 flops a pass.
#pragma once

#include <vector>

#include "workers/calib/hessian.h"
#include "workers/core/cancel.h"
#include "workers/core/coded.h"

namespace quantd {

struct DescentScratch {
  std::vector<float> weight, error;         // [n, rows]
  std::vector<float> hessian;               // [block, n]
  std::vector<float> gradient;              // [block, rows]
  std::vector<float> scale, inverse, zero;  // [groups, rows]
  std::vector<uint8_t> codes;               // [n, rows]
};

// `passes` passes over the stripe `w` [io->rows, n], from the codes in `io` to better ones. Columns
// without input keep their codes. Stops early when the token is set.
void DescendRows(const Hessian& hessian, const float* w, int passes, Coded* io,
                 DescentScratch* scratch, const CancelToken& cancel);

}  // namespace quantd
