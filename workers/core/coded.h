// The neutral form between solvers and layouts: what each weight became, before any packing.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/core/spec.h"

namespace quantd {

// Single weights beside the code, in CSR: those of row r are [begin[r], begin[r + 1]). `value` is a
// number of F16 that is ADDED to what the code decodes to.
struct OutlierTable {
  std::vector<int32_t> begin;   // [rows + 1], or empty: no outliers in use
  std::vector<int32_t> column;  // ascending in each row
  std::vector<float> value;

  bool operator==(const OutlierTable&) const = default;
};

// Scales of one run of StorageKind::kNested, in row-major order of the grid.
inline constexpr int64_t kNestedRun = 256;

// What a coded m x n weight holds once, for all its rows. Empty vectors: not in use.
struct CodedShared {
  // [n] group of each column where groups run along a row and are not column / group_columns
  // (GPTQ's g_idx).
  std::vector<int32_t> group_of_column;
  float tensor_scale = 1.0f;  // StorageKind::kE4M3: multiplies every decoded scale code
  float scale_offset = 0.0f;  // StorageKind::kNested: added to every scale
  std::vector<float> table;   // [2^bits] the one learned table of Granularity::kTensor
  std::vector<uint8_t>
      column_bits;  // [n] bits of each column's codes (AllocationKind::kColumnScore)
  std::vector<int32_t> kept_columns;  // ascending; their weights are in Coded::kept
  std::vector<float> column_scale;    // [n] s: the code stands for W diag(s)
  std::vector<int8_t> input_signs;    // [n] +1 / -1, see Transform::rotation
  std::vector<int8_t> output_signs;   // [m]
  // Additive levels: [M, 2^B, out_group, in_group], numbers of F16.
  std::vector<float> codebooks;

  bool operator==(const CodedShared&) const = default;
};

// Rows [row_begin, row_begin + rows) of a coded m x n weight. Plain arrays, no bit tricks: layouts
// turn it into bytes (PackRows) and back (UnpackRows), levels/ turn it into numbers.
//
// Parameters (scales, zeros, tables) form a grid of param_rows x param_cols: one row of the grid
// for each group_rows rows of the stripe, one column of it for each group along a row. Per-OC:
// group_rows = 1, param_cols = groups per row. Per-IC: group_rows = the group's rows, param_cols =
// n. Per-IC stripes begin at a multiple of group_rows. Additive levels: group_rows = out_group,
// stripes are whole out groups, param_cols = 1 or one for each patch.
struct Coded {
  Levels levels;
  Granularity granularity = Granularity::kGroup;
  Storage storage;
  int64_t row_begin = 0;
  int64_t rows = 0;
  int64_t cols = 0;           // n
  int64_t group_columns = 0;  // columns of a group (the last may be shorter); 1 for per-IC
  int64_t group_rows = 1;     // rows of a group (the last may be shorter); 1 for per-OC
  int64_t groups = 0;         // param_cols: groups per row; n for per-IC
  int64_t param_rows = 0;     // ceil(rows / group_rows)

  std::vector<uint8_t> codes;  // [rows, cols], u in [0, 2^bits - 1]; not for additive levels
  // Additive levels: [param_rows, cols / in_group, M], u in [0, 2^B - 1].
  std::vector<uint16_t> book_codes;
  // [param_rows, groups], already what the stored form decodes to; kTensor repeats one. Not for
  // learned tables and binary coding.
  std::vector<float> scales;
  // [param_rows, groups], z in code space; middle_code() for the symmetric kinds. Affine with an
  // integer zero only, else empty.
  std::vector<uint8_t> zeros;
  std::vector<float> real_zeros;     // [param_rows, groups] where levels.real_zero()
  std::vector<uint8_t> scale_codes;  // [param_rows, groups] where storage.coded(); kInt: scales
  std::vector<uint8_t> zero_codes;   // [param_rows, groups] where storage is kInt
  // kInt: [ceil(param_rows / super_group), groups, 4]: step and zero of the scales, then of the
  // zeros: s = step (code - zero). kNested: [ceil(param_rows groups / 256)], largest |scale -
  // offset| of each run of 256 in row-major order; such stripes begin at a multiple of 256 rows.
  // kTable: [param_rows, 2^storage.bits] the F16 scales that scale_codes name.
  std::vector<float> super;
  // Learned tables: [param_rows, groups, 2^bits], each ascending; kTensor: empty, see
  // CodedShared::table. Binary coding: [param_rows, groups, bits + 1]: a_0 .. a_{bits-1}, c.
  std::vector<float> tables;

  OutlierTable outliers;      // of these rows; empty without outliers
  std::vector<float> kept;    // [rows, kept_columns], numbers of F16 that replace the code
  std::vector<float> recent;  // [rows of the stripe that are recent, cols], F16, replace the code

  const CodedShared* shared = nullptr;  // outlives the stripe

  int64_t GroupOf(int64_t column) const {
    return shared == nullptr || shared->group_of_column.empty() ? column / group_columns
                                                                : shared->group_of_column[column];
  }
  // Index into scales, zeros ... of the weight in row `row` (of the stripe) and column `column`.
  int64_t ParamOf(int64_t row, int64_t column) const {
    return row / group_rows * groups + GroupOf(column);
  }

  // True if `part`, a stripe whose rows lie within these, holds the same code. `part` begins at a
  // group of rows or lies inside one; `shared` is not compared.
  bool Holds(const Coded& part) const;

  // Sizes the arrays for `row_count` rows from `begin` of an m x n weight under `spec`; contents
  // are unspecified, outliers none. Arrays keep their capacity, so one object serves many stripes.
  void Reshape(const Spec& spec, int64_t begin, int64_t row_count, int64_t m, int64_t n,
               const CodedShared* of_weight);
};

}  // namespace quantd
