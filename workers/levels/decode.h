// What a coded stripe stands for, in numbers: every level kind under every partition.
//
//   affine          (u - z) s                       minifloat, fixed table, cluster   v[u] s
//   learned table   t[u]                            binary coding                     c +- a_0 +-
//   a_1 ...
//   additive        (C_1[u_1] + C_2[u_2] + ...) s, patch by patch
// All F32, in this order of operations. Then kept columns replace, outliers are added, and recent
// rows replace.
//
// The result lies in the basis of the code: CodedShared::column_scale and the signs of a rotation
// are not undone here.
#pragma once

#include <cstdint>

#include "workers/core/coded.h"

namespace quantd {

// Row `row` (0-based within the stripe) of `coded`: cols values to `out`. Codes must be below the
// number of levels that tables hold; beyond that no value of the arrays can do harm.
void DecodeRow(const Coded& coded, int64_t row, float* out);

// All rows: out is [rows, cols].
void Decode(const Coded& coded, float* out);

}  // namespace quantd
