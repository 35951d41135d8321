// The neutral form between solvers and layouts: what each weight became, before any packing.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/core/spec.h"

namespace quantd {

// Rows [row_begin, row_begin + rows) of a coded m x n weight. Plain arrays, no bit tricks: layouts
// turn it into bytes (PackRows) and back (UnpackRows), levels/ turn it into numbers (Dequantize).
struct Coded {
  AffineInt levels;
  Granularity granularity = Granularity::kGroup;
  int64_t row_begin = 0;
  int64_t rows = 0;
  int64_t cols = 0;           // n
  int64_t group_columns = 0;  // columns of a group (the last may be shorter)
  int64_t groups = 0;         // per row

  std::vector<uint8_t> codes;  // [rows, cols], u in [0, 2^bits - 1]
  std::vector<float>
      scales;  // [rows, groups], already values of the stored dtype; kTensor repeats one
  std::vector<uint8_t>
      zeros;  // [rows, groups], z in code space; middle_code() for the symmetric kinds

  // [cols] group of each original column (GPTQ's g_idx); empty means column / group_columns.
  std::vector<int32_t> group_of_column;

  int64_t GroupOf(int64_t column) const {
    return group_of_column.empty() ? column / group_columns : group_of_column[column];
  }

  // Sizes the arrays for `row_count` rows from `begin` of an m x n weight under `spec`; contents
  // are unspecified. Arrays keep their capacity, so one object serves many stripes.
  void Reshape(const Spec& spec, int64_t begin, int64_t row_count, int64_t n) {
    levels = spec.levels;
    granularity = spec.partition.granularity;
    row_begin = begin;
    rows = row_count;
    cols = n;
    group_columns = spec.partition.GroupColumns(n);
    groups = spec.partition.GroupsPerRow(n);
    codes.resize(rows * cols);
    scales.resize(rows * groups);
    zeros.resize(rows * groups);
    group_of_column.clear();
  }
};

}  // namespace quantd
