#include "workers/levels/affine.h"

#include <vector>

#include "workers/linalg/row_kernels.h"

namespace quantd {

void RoundLanes(const AffineInt& levels, const float* w, int64_t count, const float* scale,
                const float* inverse, const float* zero, uint8_t* codes, float* decoded) {
  ActiveRowKernels().round_lanes(w, count, scale, inverse, zero,
                                 static_cast<float>(levels.max_code()), codes, decoded);
}

void DequantizeRow(const Coded& coded, int64_t row, float* out) {
  const uint8_t* codes = coded.codes.data() + row * coded.cols;
  const float* scales = coded.scales.data() + row * coded.groups;
  const uint8_t* zeros = coded.zeros.data() + row * coded.groups;
  if (!coded.group_of_column.empty()) {
    for (int64_t j = 0; j < coded.cols; ++j) {
      const int32_t g = coded.group_of_column[j];
      out[j] = static_cast<float>(codes[j] - zeros[g]) * scales[g];
    }
    return;
  }
  thread_local std::vector<float> zero;
  zero.assign(zeros, zeros + coded.groups);
  ActiveRowKernels().decode(codes, coded.cols, coded.group_columns, scales, zero.data(), out);
}

void Dequantize(const Coded& coded, float* out) {
  for (int64_t r = 0; r < coded.rows; ++r) DequantizeRow(coded, r, out + r * coded.cols);
}

}  // namespace quantd
