// Additive codes (AQLM, arXiv 2401.06118, section 3.1): a patch of out_group x in_group weights is
//
//   W'[i * out_group + a][j * in_group + b] = s_i * sum over m of C_m[code(i, j, m)][a][b]
//
// with M codebooks C_m of 2^B patches each and one scale s_i for each out group, or s_ij for each
// patch. "Out group" i is a band of out_group rows, "in group" j one of in_group columns.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/core/coded.h"
#include "workers/core/spec.h"

namespace quantd {

// Counts of an additive code for an m x n weight; out_group divides m, in_group divides n.
struct AdditiveShape {
  int64_t m = 0;
  int64_t n = 0;
  int64_t out_group = 1;
  int64_t in_group = 8;
  int64_t codebooks = 1;      // M
  int64_t entries = 256;      // 2^B, of one codebook
  int64_t scale_columns = 1;  // scales of an out group: 1, or in_groups()

  static AdditiveShape Of(const Spec& spec, int64_t m, int64_t n);

  int64_t out_groups() const { return m / out_group; }
  int64_t in_groups() const { return n / in_group; }
  int64_t patch() const { return out_group * in_group; }  // weights of a patch
  int64_t book_numbers() const { return codebooks * entries * patch(); }
  int64_t codes() const { return out_groups() * in_groups() * codebooks; }
};

// The code of a whole weight, as solvers hold it.
struct AdditiveCode {
  std::vector<float> books;     // [M, 2^B, out_group, in_group]
  std::vector<uint16_t> codes;  // [out groups, in groups, M]
  std::vector<float> scales;    // [out groups, scale_columns]
  // StorageKind::kTable only: scales = the entry of the out group's own table that a code names.
  std::vector<float> scale_tables;   // [out groups, 2^storage.bits]
  std::vector<uint8_t> scale_codes;  // [out groups, scale_columns]

  bool operator==(const AdditiveCode&) const = default;
};

// `books` as above; `codes` [in_groups, M] and `scales` [scale_columns] are those of one out group;
// out [out_group, n]. F32: entries are added in the order of m, then multiplied by the scale. Codes
// must be below `entries`.
void DecodeOutGroup(const AdditiveShape& shape, const float* books, const uint16_t* codes,
                    const float* scales, float* out);

// One patch [out_group, in_group], with the same bits; `codes` [M].
void DecodePatch(const AdditiveShape& shape, const float* books, const uint16_t* codes, float scale,
                 float* out);

// DecodeOutGroup() for row `row` (of the stripe) of an additive `coded`: n values to `out`.
void DecodeAdditiveRow(const Coded& coded, int64_t row, float* out);

}  // namespace quantd
