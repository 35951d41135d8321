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

void TransposeWords(const uint8_t* in, int64_t in_stride, int64_t rows, int64_t cols, uint8_t* out,
                    int64_t out_stride) {
  Widest().transpose(in, in_stride, rows, cols, out, out_stride);
}

absl::Span<const BitKernels* const> SupportedBitKernels() {
  return {AllLevels().tables.data(), AllLevels().count};
}

}  // namespace quantd
