// Scales that are stored as codes: what E8M0, E4M3, integer and nested codes decode to.
//
// All F32, in this order of operations:
//   E8M0     s = 2^(code - 127); affine levels of b bits are multiples of 2^-(b - 2) of that shared
//            scale (OCP MXINT8: k / 64), so that s = 2^(code - 127 - (b - 2)). Code 255 is NaN
//   E4M3     s = e4m3(code) * tensor_scale; codes 0x7F, 0xFF are NaN
//   int      s = step * (code - zero), both of Coded::super; real zeros likewise
//   table    s = super[code], the out group's own 2^bits numbers
//   nested   s = map[code] * largest + scale_offset, map: DynamicMap()
#pragma once

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "workers/core/coded.h"

namespace quantd {

// The number of an E4M3 code; NaN for 0x7F and 0xFF.
float E4M3Number(uint8_t code);

// Fills out->scales, and for kInt the real zeros, from scale_codes, zero_codes, super and
// *out->shared. Requires out->storage.coded(). INVALID_ARGUMENT naming `suffix`, row and group
// where a scale or zero is not a finite number.
absl::Status DecodeScaleCodes(absl::string_view suffix, Coded* out);

}  // namespace quantd
