// How the parameter grid of a stripe lies in the stored grid of its weight.
#pragma once

#include <cstdint>

#include "workers/core/coded.h"
#include "workers/core/shape.h"
#include "workers/core/spec.h"

namespace quantd {

// The stored grid: one set for Granularity::kTensor, else a row for each group_rows rows.
struct ParamGrid {
  int64_t rows = 1;
  int64_t groups = 1;
};

inline ParamGrid StoredGrid(const Spec& spec, int64_t m, int64_t n) {
  if (spec.partition.granularity == Granularity::kTensor) return {1, 1};
  const int64_t group_rows =
      spec.levels.additive() ? spec.levels.out_group : spec.partition.GroupRows(m);
  return {CeilDiv(m, group_rows), spec.partition.GroupsPerRow(n)};
}

inline int64_t FirstParamRow(const Coded& coded) { return coded.row_begin / coded.group_rows; }

// Calls put(stored row, row of the stripe's grid) for each row that this stripe stores. The one set
// of a kTensor weight belongs to the stripe with row 0, so that stripes may be stored at once.
template <typename Put>
void ForStoredRows(const Coded& coded, Put put) {
  if (coded.granularity == Granularity::kTensor) {
    if (coded.row_begin == 0 && coded.rows > 0) put(int64_t{0}, int64_t{0});
    return;
  }
  const int64_t first = FirstParamRow(coded);
  for (int64_t p = 0; p < coded.param_rows; ++p) put(first + p, p);
}

// Calls get(stored row, row of the stripe's grid) for every row of the stripe's grid; kTensor reads
// its one row again and again.
template <typename Get>
void ForLoadedRows(const Coded& coded, Get get) {
  const bool one = coded.granularity == Granularity::kTensor;
  const int64_t first = FirstParamRow(coded);
  for (int64_t p = 0; p < coded.param_rows; ++p) get(one ? 0 : first + p, p);
}

}  // namespace quantd
