// Scales of a stripe <-> a stored tensor of F16, BF16 or F32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "workers/core/coded.h"
#include "workers/core/dtype.h"
#include "workers/core/packed.h"

namespace quantd {

// Where the scale of (row, group) lies: element row * row_stride + group * group_stride. A weight
// of one scale (Granularity::kTensor) has it at element 0 whatever the strides.
struct ScaleGrid {
  DType dtype = DType::kF16;
  int64_t row_stride = 0;
  int64_t group_stride = 1;
};

// Stores coded.scales. The one scale of a kTensor weight is written by the stripe that holds row 0
// only, so that stripes may be stored at the same time.
void StoreScales(const Coded& coded, const ScaleGrid& grid, std::byte* out);

// Fills out->scales, sized by Reshape(). `in` is not aligned. INVALID_ARGUMENT for an infinity or a
// NaN, naming tensor, row and group.
absl::Status LoadScales(const PackedView& in, const ScaleGrid& grid, Coded* out);

}  // namespace quantd
