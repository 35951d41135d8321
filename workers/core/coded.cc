#include "workers/core/coded.h"

#include <algorithm>

#include "workers/core/shape.h"

namespace quantd {
namespace {

// Numbers of Coded::super for a grid of parameters.
int64_t SuperNumbers(const Storage& storage, int64_t param_rows, int64_t groups) {
  if (storage.kind == StorageKind::kInt) {
    return CeilDiv(param_rows, storage.super_group) * groups * 4;
  }
  if (storage.kind == StorageKind::kNested) return CeilDiv(param_rows * groups, kNestedRun);
  if (storage.kind == StorageKind::kTable) return param_rows << storage.bits;
  return 0;
}

}  // namespace

void Coded::Reshape(const Spec& spec, int64_t begin, int64_t row_count, int64_t m, int64_t n,
                    const CodedShared* of_weight) {
  levels = spec.levels;
  if (spec.allocation.kind == AllocationKind::kColumnScore) {
    levels.bits = std::max(levels.bits, spec.allocation.high_bits);
  }
  granularity = spec.partition.granularity;
  storage = spec.storage;
  row_begin = begin;
  rows = row_count;
  cols = n;
  group_columns = spec.partition.GroupColumns(n);
  group_rows = levels.additive() ? levels.out_group : spec.partition.GroupRows(m);
  groups = spec.partition.GroupsPerRow(n);
  param_rows = CeilDiv(rows, group_rows);
  shared = of_weight;

  const int64_t grid = param_rows * groups;
  const bool scaled = levels.scaled();
  const bool learned = levels.kind == LevelKind::kLearnedTable;
  codes.resize(levels.additive() ? 0 : rows * cols);
  book_codes.resize(levels.additive() ? param_rows * (cols / levels.in_group) * levels.codebooks
                                      : 0);
  scales.resize(scaled ? grid : 0);
  zeros.resize(levels.affine() && !levels.real_zero() ? grid : 0);
  real_zeros.resize(levels.real_zero() ? grid : 0);
  scale_codes.resize(scaled && storage.coded() ? grid : 0);
  zero_codes.resize(scaled && storage.kind == StorageKind::kInt ? grid : 0);
  super.resize(scaled ? SuperNumbers(storage, param_rows, groups) : 0);
  const bool own_tables = granularity != Granularity::kTensor || !learned;
  tables.resize(own_tables ? grid * levels.table_numbers() : 0);
  outliers.begin.clear();
  outliers.column.clear();
  outliers.value.clear();
  kept.clear();
  recent.clear();
}

namespace {

// Elements [begin, begin + part.size()) of `whole` are `part`; an array is in use in both or none.
template <typename T>
bool Contains(const std::vector<T>& whole, int64_t begin, const std::vector<T>& part) {
  if (part.empty() || whole.empty()) return part.empty() && whole.empty();
  return begin + static_cast<int64_t>(part.size()) <= static_cast<int64_t>(whole.size()) &&
         std::equal(part.begin(), part.end(), whole.begin() + begin);
}

bool SameOutliers(const OutlierTable& whole, int64_t row, const OutlierTable& part) {
  if (part.begin.empty()) return whole.begin.empty();
  if (row + part.begin.size() > whole.begin.size()) return false;
  const int32_t first = whole.begin[row];
  for (size_t r = 0; r < part.begin.size(); ++r) {
    if (whole.begin[row + r] - first != part.begin[r]) return false;
  }
  if (part.column.empty()) return part.value.empty();  // these rows have none
  return Contains(whole.column, first, part.column) && Contains(whole.value, first, part.value);
}

}  // namespace

bool Coded::Holds(const Coded& part) const {
  const int64_t row = part.row_begin - row_begin;
  if (row < 0 || row + part.rows > rows || cols != part.cols || groups != part.groups) return false;
  const int64_t param = row / group_rows, grid = param * groups;
  const int64_t super_begin = storage.kind == StorageKind::kInt
                                  ? param / storage.super_group * groups * 4
                              : storage.kind == StorageKind::kTable ? param << storage.bits
                                                                    : grid / kNestedRun;
  const int64_t code_count = levels.additive() ? 0 : part.rows * cols;
  const int64_t book_codes_of_row =
      levels.additive() ? cols / levels.in_group * levels.codebooks : 0;
  const int64_t kept_columns = rows > 0 ? static_cast<int64_t>(kept.size()) / rows : 0;
  // Recent rows are the last ones of the whole stripe.
  const int64_t recent_begin = rows - (cols > 0 ? static_cast<int64_t>(recent.size()) / cols : 0);
  const int64_t part_recent = cols > 0 ? static_cast<int64_t>(part.recent.size()) / cols : 0;
  const int64_t want_recent = std::max<int64_t>(0, row + part.rows - std::max(recent_begin, row));
  return Contains(codes, row * cols, part.codes) && Contains(scales, grid, part.scales) &&
         Contains(zeros, grid, part.zeros) && Contains(real_zeros, grid, part.real_zeros) &&
         Contains(scale_codes, grid, part.scale_codes) &&
         Contains(zero_codes, grid, part.zero_codes) &&
         Contains(super, super.empty() ? 0 : super_begin, part.super) &&
         Contains(tables, grid * levels.table_numbers(), part.tables) &&
         part.codes.size() == static_cast<size_t>(code_count) &&
         part.book_codes.size() == static_cast<size_t>(part.param_rows * book_codes_of_row) &&
         Contains(book_codes, param * book_codes_of_row, part.book_codes) &&
         Contains(kept, row * kept_columns, part.kept) && part_recent == want_recent &&
         (want_recent == 0 ||
          Contains(recent, (std::max(recent_begin, row) - recent_begin) * cols, part.recent)) &&
         SameOutliers(outliers, row, part.outliers);
}

}  // namespace quantd
