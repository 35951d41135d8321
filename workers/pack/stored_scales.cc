#include "workers/pack/stored_scales.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "workers/core/dynamic_map.h"
#include "workers/core/status_macros.h"
#include "workers/pack/scales.h"

namespace quantd {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

using Numbers = std::array<float, 256>;

Numbers MakeE4M3() {
  Numbers numbers;
  for (int code = 0; code < 256; ++code) {
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    const float magnitude = exponent == 0
                                ? std::ldexp(static_cast<float>(mantissa), -9)
                                : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    numbers[code] = (code & 0x7F) == 0x7F ? kNaN : (code & 0x80) != 0 ? -magnitude : magnitude;
  }
  return numbers;
}

float E8M0Number(uint8_t code, int fraction_bits) {
  return code == 255 ? kNaN : std::ldexp(1.0f, code - 127 - fraction_bits);
}

const Numbers& E4M3Numbers() {
  static const Numbers numbers = MakeE4M3();
  return numbers;
}

void DecodeE8M0(Coded* out) {
  const int fraction_bits = out->levels.affine() ? out->levels.bits - 2 : 0;
  for (size_t i = 0; i < out->scales.size(); ++i) {
    out->scales[i] = E8M0Number(out->scale_codes[i], fraction_bits);
  }
}

void DecodeInt(Coded* out) {
  for (int64_t p = 0; p < out->param_rows; ++p) {
    const float* second = out->super.data() + p / out->storage.super_group * out->groups * 4;
    for (int64_t g = 0; g < out->groups; ++g) {
      const int64_t i = p * out->groups + g;
      const float* of = second + 4 * g;
      out->scales[i] = of[0] * (static_cast<float>(out->scale_codes[i]) - of[1]);
      if (out->levels.real_zero()) {
        out->real_zeros[i] = of[2] * (static_cast<float>(out->zero_codes[i]) - of[3]);
      }
    }
  }
}

void DecodeTable(Coded* out) {
  for (int64_t p = 0; p < out->param_rows; ++p) {
    const float* table = out->super.data() + (p << out->storage.bits);
    for (int64_t i = p * out->groups; i < (p + 1) * out->groups; ++i) {
      out->scales[i] = table[out->scale_codes[i]];
    }
  }
}

void DecodeNested(Coded* out) {
  const Numbers& map = DynamicMap();
  for (size_t i = 0; i < out->scales.size(); ++i) {
    out->scales[i] =
        map[out->scale_codes[i]] * out->super[i / kNestedRun] + out->shared->scale_offset;
  }
}

}  // namespace

float E4M3Number(uint8_t code) { return E4M3Numbers()[code]; }

absl::Status DecodeScaleCodes(absl::string_view suffix, Coded* out) {
  switch (out->storage.kind) {
    case StorageKind::kE8M0:
      DecodeE8M0(out);
      break;
    case StorageKind::kE4M3:
      for (size_t i = 0; i < out->scales.size(); ++i) {
        out->scales[i] = E4M3Number(out->scale_codes[i]) * out->shared->tensor_scale;
      }
      break;
    case StorageKind::kInt:
      DecodeInt(out);
      break;
    case StorageKind::kTable:
      DecodeTable(out);
      break;
    default:
      DecodeNested(out);
      break;
  }
  QUANTD_RETURN_IF_ERROR(CheckFinite(suffix, "scale", *out, out->scales));
  return CheckFinite(suffix, "zero", *out, out->real_zeros);
}

}  // namespace quantd
