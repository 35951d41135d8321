#include "workers/pack/bits.h"

#include <array>
#include <bit>
#include <cstddef>

namespace quantd {

static_assert(std::endian::native == std::endian::little, "words are stored as they lie in memory");

namespace {

struct Levels {
  std::array<const BitKernels*, 2> tables = {};
  size_t count = 0;
};

Levels FindLevels() {
  Levels levels;
  levels.tables[levels.count++] = BaselineBitKernels();
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) levels.tables[levels.count++] = Avx2BitKernels();
#endif
  return levels;
}

const Levels& AllLevels() {
  static const Levels levels = FindLevels();
  return levels;
}

const BitKernels& Widest() {
  static const BitKernels* const widest = AllLevels().tables[AllLevels().count - 1];
  return *widest;
}

}  // namespace

void PackBits(const uint8_t* codes, int64_t count, int bits, uint8_t* out) {
  Widest().pack(codes, count, bits, out);
}

void UnpackBits(const uint8_t* in, int64_t count, int bits, uint8_t* codes) {
  Widest().unpack(in, count, bits, codes);
}

void PackWideBits(const uint16_t* codes, int64_t count, int bits, uint8_t* out) {
  const uint32_t mask = (1u << bits) - 1;
  uint32_t waiting = 0;  // at most 7 bits and a code
  int held = 0;
  for (int64_t i = 0; i < count; ++i) {
    waiting |= (codes[i] & mask) << held;
    for (held += bits; held >= 8; held -= 8, waiting >>= 8) *out++ = static_cast<uint8_t>(waiting);
  }
  if (held > 0) *out = static_cast<uint8_t>(waiting);
}

void UnpackWideBits(const uint8_t* in, int64_t count, int bits, uint16_t* codes) {
  const uint32_t mask = (1u << bits) - 1;
  uint32_t waiting = 0;
  int held = 0;
  for (int64_t i = 0; i < count; ++i) {
    for (; held < bits; held += 8) waiting |= uint32_t{*in++} << held;
    codes[i] = static_cast<uint16_t>(waiting & mask);
    waiting >>= bits;
    held -= bits;
  }
}

void TransposeWords(const uint8_t* in, int64_t in_stride, int64_t rows, int64_t cols, uint8_t* out,
                    int64_t out_stride) {
  Widest().transpose(in, in_stride, rows, cols, out, out_stride);
}

absl::Span<const BitKernels* const> SupportedBitKernels() {
  return {AllLevels().tables.data(), AllLevels().count};
}

}  // namespace quantd
