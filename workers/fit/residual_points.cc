#include "workers/fit/residual_points.h"

#include <algorithm>
#include <vector>

namespace quantd {
namespace {

// points [count, patch] minus the entries of `book` [entries, patch] that every stride-th code
// names. A fixed length lets the compiler drop the inner loop.
template <int kPatch>
void Subtract(const float* book, const uint16_t* codes, int64_t stride, int64_t count,
              int64_t patch, float* points) {
  const int64_t length = kPatch > 0 ? kPatch : patch;
  for (int64_t p = 0; p < count; ++p) {
    const float* entry = book + codes[p * stride] * length;
    float* point = points + p * length;
    for (int64_t i = 0; i < length; ++i) point[i] -= entry[i];
  }
}

}  // namespace

void ResidualPoints::Read(int64_t begin, int64_t rows, float* out) const {
  const int64_t width = shape_.in_groups();
  while (rows > 0) {
    const int64_t count = std::min(rows, width - begin % width);
    ReadBand(begin / width, begin % width, count, out);
    begin += count;
    rows -= count;
    out += count * shape_.patch();
  }
}

void ResidualPoints::ReadChosen(const int64_t* chosen, int64_t rows, float* out) const {
  for (int64_t r = 0; r < rows;) {
    int64_t run = 1;
    while (r + run < rows && chosen[r + run] == chosen[r] + run) ++run;
    Read(chosen[r], run, out + r * shape_.patch());
    r += run;
  }
}

void ResidualPoints::ReadBand(int64_t out_group, int64_t in_group, int64_t count,
                              float* out) const {
  const int64_t patch = shape_.patch();
  ReadWeights(out_group, in_group, count, out);
  const float* scales = &code_.scales[out_group * shape_.scale_columns];
  if (shape_.scale_columns == 1) {
    for (int64_t i = 0; i < count * patch; ++i) out[i] /= scales[0];
  } else {
    for (int64_t p = 0; p < count; ++p) {
      for (int64_t i = 0; i < patch; ++i) out[p * patch + i] /= scales[in_group + p];
    }
  }
  const uint16_t* codes =
      code_.codes.data() + (out_group * shape_.in_groups() + in_group) * shape_.codebooks;
  for (int64_t m = 0; m < book_; ++m) {
    const float* book = code_.books.data() + m * shape_.entries * patch;
    const auto subtract = patch == 8 ? Subtract<8> : patch == 4 ? Subtract<4> : Subtract<0>;
    subtract(book, codes + m, shape_.codebooks, count, patch, out);
  }
}

void ResidualPoints::ReadWeights(int64_t out_group, int64_t in_group, int64_t count,
                                 float* out) const {
  const int64_t rows = shape_.out_group, width = shape_.in_group;
  std::vector<float> row(rows > 1 ? count * width : 0);
  for (int64_t a = 0; a < rows; ++a) {
    const int64_t first = (out_group * rows + a) * weight_.n + in_group * width;
    const WeightView part{weight_.dtype,
                          weight_.bytes + first * static_cast<int64_t>(DTypeBytes(weight_.dtype)),
                          1, count * width};
    if (rows == 1) {
      part.ReadRows(0, 1, out);
      continue;
    }
    part.ReadRows(0, 1, row.data());
    for (int64_t p = 0; p < count; ++p) {
      std::copy_n(&row[p * width], width, out + (p * rows + a) * width);
    }
  }
}

}  // namespace quantd
