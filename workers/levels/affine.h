// Affine integer levels: w = scale * (u - zero), u in [0, 2^bits - 1].
//
// The formulas are part of the contract (all F32, round half to even):
//   u  = rint(clamp(w * inverse, -zero, max_code - zero)) + zero     with inverse = 1 / scale
//   w' = (u - zero) * scale
#pragma once

#include <cmath>
#include <cstdint>

#include "workers/core/coded.h"
#include "workers/core/spec.h"

namespace quantd {

// Parameters of one group, ready for arithmetic. Make them with MakeAffineParams only.
struct AffineParams {
  float scale = 1.0f;  // a value of the stored dtype, not 0; negative only for kSymmetricFullRange
  float inverse = 1.0f;  // 1.0f / scale
  float zero = 0.0f;     // code of the number 0, an integer in [0, max_code]
};

inline AffineParams MakeAffineParams(float scale, uint8_t zero) {
  return {scale, 1.0f / scale, static_cast<float>(zero)};
}

// One weight; the array versions give the same results. A NaN gets code 0.
inline uint8_t EncodeAffine(const AffineInt& levels, const AffineParams& p, float w) {
  const float low = -p.zero;
  const float high = static_cast<float>(levels.max_code()) - p.zero;
  float x = w * p.inverse;
  x = x > low ? x : low;
  x = x < high ? x : high;
  return static_cast<uint8_t>(static_cast<int>(std::nearbyintf(x)) + static_cast<int>(p.zero));
}

inline float DecodeAffine(const AffineParams& p, uint8_t code) {
  return (static_cast<float>(code) - p.zero) * p.scale;
}

// Encodes and decodes `count` weights with parameters of their own: scale[i], inverse[i] (= 1 /
// scale), zero[i]. For solvers that go down a column with one row per lane. Nothing may overlap,
// except that `decoded` may be `w`.
void RoundLanes(const AffineInt& levels, const float* w, int64_t count, const float* scale,
                const float* inverse, const float* zero, uint8_t* codes, float* decoded);

// Row `row` (0-based within the stripe) of `coded`: cols values to `out`. Honours group_of_column
// and a short last group.
void DequantizeRow(const Coded& coded, int64_t row, float* out);

// All rows: out is [rows, cols].
void Dequantize(const Coded& coded, float* out);

}  // namespace quantd
