// Zero points as bit streams that run down the rows: the way compressed-tensors and GPTQ store
// them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "workers/core/coded.h"

namespace quantd {

// Each group (column of the zero point matrix) is a bit stream of its own over the m rows, cut into
// 32-bit words: word w of group g lies at index w * word_stride + g * group_stride. 32 rows fill
// exactly `bits` words, hence stripes that begin at multiples of 32 share none.
struct ZeroPointGrid {
  int64_t word_stride = 1;
  int64_t group_stride = 1;
  int subtract = 0;  // stored field = (z - subtract) modulo 2^bits
};

// coded.row_begin is a multiple of 32, and so is coded.rows unless the stripe ends the weight.
void StoreZeroPoints(const Coded& coded, const ZeroPointGrid& grid, std::byte* out);

// Fills out->zeros, sized by Reshape(), with values in [0, 2^bits - 1]. `in` is not aligned.
void LoadZeroPoints(const std::byte* in, const ZeroPointGrid& grid, Coded* out);

}  // namespace quantd
