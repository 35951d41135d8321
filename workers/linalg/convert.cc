#include "workers/linalg/convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

// Small enough that the scan for the exact place reads from cache.
constexpr int64_t kScanBlock = 4096;

// Tiles of a transpose: both sides of a tile lie in L1.
constexpr int64_t kTile = 32;

using Quad = float __attribute__((vector_size(16)));

Quad LoadQuad(const float* p) {
  Quad v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

void Transpose4x4(const float* src, int64_t src_stride, float* dst, int64_t dst_stride) {
  const Quad a = LoadQuad(src), b = LoadQuad(src + src_stride), c = LoadQuad(src + 2 * src_stride),
             d = LoadQuad(src + 3 * src_stride);
  const Quad ac_low = __builtin_shufflevector(a, c, 0, 4, 1, 5);
  const Quad ac_high = __builtin_shufflevector(a, c, 2, 6, 3, 7);
  const Quad bd_low = __builtin_shufflevector(b, d, 0, 4, 1, 5);
  const Quad bd_high = __builtin_shufflevector(b, d, 2, 6, 3, 7);
  const Quad out[4] = {__builtin_shufflevector(ac_low, bd_low, 0, 4, 1, 5),
                       __builtin_shufflevector(ac_low, bd_low, 2, 6, 3, 7),
                       __builtin_shufflevector(ac_high, bd_high, 0, 4, 1, 5),
                       __builtin_shufflevector(ac_high, bd_high, 2, 6, 3, 7)};
  for (int i = 0; i < 4; ++i) std::memcpy(dst + i * dst_stride, &out[i], sizeof(Quad));
}

template <typename T>
void TransposeScalar(const T* src, int64_t rows, int64_t cols, int64_t src_stride, T* dst,
                     int64_t dst_stride) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) dst[c * dst_stride + r] = src[r * src_stride + c];
  }
}

void TransposeTile(const float* src, int64_t rows, int64_t cols, int64_t src_stride, float* dst,
                   int64_t dst_stride) {
  const int64_t whole_rows = rows / 4 * 4, whole_cols = cols / 4 * 4;
  for (int64_t c = 0; c < whole_cols; c += 4) {
    for (int64_t r = 0; r < whole_rows; r += 4) {
      Transpose4x4(src + r * src_stride + c, src_stride, dst + c * dst_stride + r, dst_stride);
    }
  }
  TransposeScalar(src + whole_rows * src_stride, rows - whole_rows, cols, src_stride,
                  dst + whole_rows, dst_stride);
  TransposeScalar(src + whole_cols, whole_rows, cols - whole_cols, src_stride,
                  dst + whole_cols * dst_stride, dst_stride);
}

void TransposeTile(const uint8_t* src, int64_t rows, int64_t cols, int64_t src_stride, uint8_t* dst,
                   int64_t dst_stride) {
  TransposeScalar(src, rows, cols, src_stride, dst, dst_stride);
}

template <typename T>
void TransposeTiles(const T* src, int64_t rows, int64_t cols, int64_t src_stride, T* dst,
                    int64_t dst_stride) {
  for (int64_t r = 0; r < rows; r += kTile) {
    for (int64_t c = 0; c < cols; c += kTile) {
      TransposeTile(src + r * src_stride + c, std::min(kTile, rows - r), std::min(kTile, cols - c),
                    src_stride, dst + c * dst_stride + r, dst_stride);
    }
  }
}

}  // namespace

void ToF32(DType dtype, const std::byte* src, float* dst, int64_t count) {
  if (count <= 0) return;
  switch (dtype) {
    case DType::kF16:
      return ActiveRowKernels().f16_to_f32(src, dst, count);
    case DType::kBF16:
      return ActiveRowKernels().bf16_to_f32(src, dst, count);
    default:
      std::memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
  }
}

void FromF32(DType dtype, const float* src, std::byte* dst, int64_t count) {
  if (count <= 0) return;
  switch (dtype) {
    case DType::kF16:
      return ActiveRowKernels().f32_to_f16(src, dst, count);
    case DType::kBF16:
      return ActiveRowKernels().f32_to_bf16(src, dst, count);
    default:
      std::memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
  }
}

int64_t FirstNonFinite(const float* values, int64_t count) {
  const RowKernels& kernels = ActiveRowKernels();
  for (int64_t begin = 0; begin < count; begin += kScanBlock) {
    const int64_t size = std::min(kScanBlock, count - begin);
    if (!kernels.any_non_finite(values + begin, size)) continue;
    for (int64_t i = begin; i < begin + size; ++i) {
      if (!std::isfinite(values[i])) return i;
    }
  }
  return -1;
}

void TransposeF32(const float* src, int64_t rows, int64_t cols, int64_t src_stride, float* dst,
                  int64_t dst_stride) {
  TransposeTiles(src, rows, cols, src_stride, dst, dst_stride);
}

void TransposeU8(const uint8_t* src, int64_t rows, int64_t cols, int64_t src_stride, uint8_t* dst,
                 int64_t dst_stride) {
  TransposeTiles(src, rows, cols, src_stride, dst, dst_stride);
}

}  // namespace quantd
