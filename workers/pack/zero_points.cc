#include "workers/pack/zero_points.h"

#include <algorithm>
#include <cstring>

#include "workers/core/shape.h"
#include "workers/pack/bits.h"

namespace quantd {
namespace {

constexpr int64_t kBlockRows = 32;
constexpr int64_t kWordBytes = 4;
constexpr int kMaxBits = 8;

}  // namespace

void StoreZeroPoints(const Coded& coded, const ZeroPointGrid& grid, std::byte* out) {
  const int bits = coded.levels.bits;
  const int mask = coded.levels.max_code();
  for (int64_t r0 = 0; r0 < coded.rows; r0 += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, coded.rows - r0);
    const int64_t words = CeilDiv(rows * bits, 32);
    const int64_t first_word = (coded.row_begin + r0) * bits / 32;
    for (int64_t g = 0; g < coded.groups; ++g) {
      uint8_t fields[kBlockRows];
      uint8_t packed[kMaxBits * kWordBytes] = {};
      for (int64_t r = 0; r < rows; ++r) {
        fields[r] =
            static_cast<uint8_t>((coded.zeros[(r0 + r) * coded.groups + g] - grid.subtract) & mask);
      }
      PackBits(fields, rows, bits, packed);
      std::byte* to = out + kWordBytes * (first_word * grid.word_stride + g * grid.group_stride);
      for (int64_t w = 0; w < words; ++w) {
        std::memcpy(to + kWordBytes * w * grid.word_stride, packed + kWordBytes * w, kWordBytes);
      }
    }
  }
}

void LoadZeroPoints(const std::byte* in, const ZeroPointGrid& grid, Coded* out) {
  const int bits = out->levels.bits;
  const int mask = out->levels.max_code();
  for (int64_t r0 = 0; r0 < out->rows; r0 += kBlockRows) {
    const int64_t rows = std::min(kBlockRows, out->rows - r0);
    const int64_t words = CeilDiv(rows * bits, 32);
    const int64_t first_word = (out->row_begin + r0) * bits / 32;
    for (int64_t g = 0; g < out->groups; ++g) {
      uint8_t fields[kBlockRows];
      uint8_t packed[kMaxBits * kWordBytes];
      const std::byte* from =
          in + kWordBytes * (first_word * grid.word_stride + g * grid.group_stride);
      for (int64_t w = 0; w < words; ++w) {
        std::memcpy(packed + kWordBytes * w, from + kWordBytes * w * grid.word_stride, kWordBytes);
      }
      UnpackBits(packed, rows, bits, fields);
      for (int64_t r = 0; r < rows; ++r) {
        out->zeros[(r0 + r) * out->groups + g] =
            static_cast<uint8_t>((fields[r] + grid.subtract) & mask);
      }
    }
  }
}

}  // namespace quantd
