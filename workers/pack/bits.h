// Codes of 2..8 bits <-> a dense bit stream, least significant bits first.
//
// Code i occupies bits [i * bits, (i + 1) * bits) of the stream; bit j of the stream is bit j % 8
// of byte j / 8. Seen as little-endian 32-bit words this is "LSB-first, elements straddle words",
// the packing that compressed-tensors (>= 0.17) and GPTQ checkpoints share.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "workers/pack/bits_levels.h"

namespace quantd {

constexpr int64_t BitStreamBytes(int64_t count, int bits) { return (count * bits + 7) / 8; }

// Writes exactly BitStreamBytes(count, bits) bytes; unused high bits of the last one are zero. Only
// the low `bits` bits of a code count. No alignment is needed; the arrays must not overlap.
void PackBits(const uint8_t* codes, int64_t count, int bits, uint8_t* out);

// Inverse. Reads exactly BitStreamBytes(count, bits) bytes; every byte string is a valid stream.
void UnpackBits(const uint8_t* in, int64_t count, int bits, uint8_t* codes);

// The same stream for codes of 1..16 bits, which take two bytes each outside it. Code by code: for
// tensors with few codes.
void PackWideBits(const uint16_t* codes, int64_t count, int bits, uint8_t* out);
void UnpackWideBits(const uint8_t* in, int64_t count, int bits, uint16_t* codes);

// Transposes words of 32 bits: out[c * out_stride + r] = in[r * in_stride + c] for r < rows, c <
// cols. Strides count words; neither side needs alignment. The arrays must not overlap.
void TransposeWords(const uint8_t* in, int64_t in_stride, int64_t rows, int64_t cols, uint8_t* out,
                    int64_t out_stride);

// The same functions compiled for each level of the instruction set that this CPU can run,
// narrowest first; the calls above use the last. All levels give the same bytes. For tests and
// benchmarks.
absl::Span<const BitKernels* const> SupportedBitKernels();

}  // namespace quantd
