#include "workers/levels/additive.h"

#include <algorithm>

namespace quantd {
namespace {

constexpr int64_t kMaxInGroup = 64;

// Row `a` of an out group. kColumns: in_group where it is known to the compiler, else 0.
template <int kColumns>
void DecodeRowOf(const AdditiveShape& shape, const float* __restrict books,
                 const uint16_t* __restrict codes, const float* __restrict scales, int64_t a,
                 float* __restrict out) {
  const int64_t columns = kColumns > 0 ? kColumns : shape.in_group;
  const int64_t patch = shape.patch(), book = shape.entries * patch;
  const float* row = books + a * columns;
  for (int64_t j = 0; j < shape.in_groups(); ++j, codes += shape.codebooks, out += columns) {
    float sum[kColumns > 0 ? kColumns : kMaxInGroup];
    const float* entry = row + codes[0] * patch;
    for (int64_t b = 0; b < columns; ++b) sum[b] = entry[b];
    for (int64_t m = 1; m < shape.codebooks; ++m) {
      entry = row + m * book + codes[m] * patch;
      for (int64_t b = 0; b < columns; ++b) sum[b] += entry[b];
    }
    const float scale = scales[shape.scale_columns > 1 ? j : 0];
    for (int64_t b = 0; b < columns; ++b) out[b] = sum[b] * scale;
  }
}

void DecodeRowOfGroup(const AdditiveShape& shape, const float* books, const uint16_t* codes,
                      const float* scales, int64_t a, float* out) {
  switch (shape.in_group) {
    case 4:
      return DecodeRowOf<4>(shape, books, codes, scales, a, out);
    case 8:
      return DecodeRowOf<8>(shape, books, codes, scales, a, out);
    case 16:
      return DecodeRowOf<16>(shape, books, codes, scales, a, out);
    default:
      return DecodeRowOf<0>(shape, books, codes, scales, a, out);
  }
}

}  // namespace

AdditiveShape AdditiveShape::Of(const Spec& spec, int64_t m, int64_t n) {
  AdditiveShape shape;
  shape.m = m;
  shape.n = n;
  shape.out_group = spec.levels.out_group;
  shape.in_group = spec.levels.in_group;
  shape.codebooks = spec.levels.codebooks;
  shape.entries = spec.levels.entries();
  shape.scale_columns = spec.partition.granularity == Granularity::kGroup ? shape.in_groups() : 1;
  return shape;
}

void DecodePatch(const AdditiveShape& shape, const float* books, const uint16_t* codes, float scale,
                 float* out) {
  const int64_t patch = shape.patch(), book = shape.entries * patch;
  const float* entry = books + codes[0] * patch;
  std::copy(entry, entry + patch, out);
  for (int64_t m = 1; m < shape.codebooks; ++m) {
    entry = books + m * book + codes[m] * patch;
    for (int64_t i = 0; i < patch; ++i) out[i] += entry[i];
  }
  for (int64_t i = 0; i < patch; ++i) out[i] *= scale;
}

void DecodeOutGroup(const AdditiveShape& shape, const float* books, const uint16_t* codes,
                    const float* scales, float* out) {
  for (int64_t a = 0; a < shape.out_group; ++a) {
    DecodeRowOfGroup(shape, books, codes, scales, a, out + a * shape.n);
  }
}

void DecodeAdditiveRow(const Coded& coded, int64_t row, float* out) {
  AdditiveShape shape;
  shape.m = coded.rows;
  shape.n = coded.cols;
  shape.out_group = coded.levels.out_group;
  shape.in_group = coded.levels.in_group;
  shape.codebooks = coded.levels.codebooks;
  shape.entries = coded.levels.entries();
  shape.scale_columns = coded.groups;
  const int64_t i = row / shape.out_group;
  DecodeRowOfGroup(shape, coded.shared->codebooks.data(),
                   coded.book_codes.data() + i * shape.in_groups() * shape.codebooks,
                   coded.scales.data() + i * shape.scale_columns, row % shape.out_group, out);
}

}  // namespace quantd
