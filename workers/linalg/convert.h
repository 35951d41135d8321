// Array conversions between F32 and the 16-bit float types, and blocked transposes.
//
// Every function gives the same bits as the scalar definitions in core/float16.h on every CPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "workers/core/dtype.h"

namespace quantd {

// `count` numbers of `dtype` (F32, F16 or BF16) at `src`, in any alignment, to F32 at `dst`.
// The two ranges must not overlap.
void ToF32(DType dtype, const std::byte* src, float* dst, int64_t count);

// The way back, round half to even; values beyond the largest finite number become infinity.
void FromF32(DType dtype, const float* src, std::byte* dst, int64_t count);

// Index of the first infinity or NaN among `count` values, -1 if there is none.
int64_t FirstNonFinite(const float* values, int64_t count);

// dst[c * dst_stride + r] = src[r * src_stride + c] for r < rows, c < cols. Strides are in
// elements, src_stride >= cols, dst_stride >= rows; the ranges must not overlap.
void TransposeF32(const float* src, int64_t rows, int64_t cols, int64_t src_stride, float* dst,
                  int64_t dst_stride);
void TransposeU8(const uint8_t* src, int64_t rows, int64_t cols, int64_t src_stride, uint8_t* dst,
                 int64_t dst_stride);

}  // namespace quantd
