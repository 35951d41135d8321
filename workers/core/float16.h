// Scalar conversions between F32 and the two 16-bit float types, round half to even.
//
// These define the bits; the array versions in linalg/convert.h give the same ones, faster.
#pragma once

#include <bit>
#include <cstdint>

#include "workers/core/dtype.h"

namespace quantd {

inline float FromBF16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

inline uint16_t ToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((bits >> 16) | 0x0040u);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

float FromF16(uint16_t bits);
uint16_t ToF16(float value);  // overflow gives infinity, NaN stays a quiet NaN

// `value` as a number of `dtype` (F32, F16 or BF16), back in F32.
float RoundTo(DType dtype, float value);

// Largest finite and smallest positive normal number of a real dtype.
float MaxFinite(DType dtype);
float MinNormal(DType dtype);

}  // namespace quantd
