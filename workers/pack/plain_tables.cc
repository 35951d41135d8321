#include "workers/pack/plain_tables.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "workers/core/float16.h"
#include "workers/core/spec_counts.h"
#include "workers/core/status_macros.h"
#include "workers/pack/find_tensor.h"
#include "workers/pack/param_rows.h"

namespace quantd {
namespace {

constexpr absl::string_view kTables = ".tables";

bool HasTables(const Spec& spec) { return spec.levels.table_numbers() > 0; }

bool IsLearned(const Spec& spec) { return spec.levels.kind == LevelKind::kLearnedTable; }

bool IsShared(const Spec& spec) {
  return IsLearned(spec) && spec.partition.granularity == Granularity::kTensor;
}

// Numbers that one row of the stored grid takes.
int64_t RowNumbers(const Spec& spec, int64_t groups) {
  if (!spec.allocation.by_column()) return groups * spec.levels.table_numbers();
  const int64_t high = HighBitColumns(spec.allocation, groups);
  return ((groups - high) << spec.levels.bits) + (high << spec.allocation.high_bits);
}

void StoreNumbers(DType dtype, const float* numbers, int64_t count, std::byte* out) {
  if (dtype == DType::kF32) {
    std::memcpy(out, numbers, count * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t half = dtype == DType::kF16 ? ToF16(numbers[i]) : ToBF16(numbers[i]);
    std::memcpy(out + i * sizeof half, &half, sizeof half);
  }
}

void LoadNumbers(DType dtype, const std::byte* in, int64_t count, float* numbers) {
  if (dtype == DType::kF32) {
    std::memcpy(numbers, in, count * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, in + i * sizeof half, sizeof half);
    numbers[i] = dtype == DType::kF16 ? FromF16(half) : FromBF16(half);
  }
}

// `at` names the table: "row 3, group 0".
absl::Status CheckTable(const float* table, int64_t count, bool ascending, int64_t row,
                        int64_t group) {
  const auto bad = [&](int64_t i, absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", kTables, "': entry ", i, " of row ",
                                                   row, ", group ", group, " is ", table[i], why));
  };
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(table[i])) return bad(i, ", not a finite number");
    if (ascending && i > 0 && table[i] < table[i - 1]) return bad(i, ", below the one before it");
  }
  return absl::OkStatus();
}

// Entries that column or group `g` of the grid has of its own.
int64_t OwnNumbers(const Spec& spec, const Coded& coded, int64_t g) {
  return spec.allocation.by_column() ? int64_t{1} << coded.shared->column_bits[g]
                                     : spec.levels.table_numbers();
}

}  // namespace

void DeclareTables(const Spec& spec, int64_t m, int64_t n, std::vector<PackedDecl>* decls) {
  if (!HasTables(spec)) return;
  const ParamGrid grid = StoredGrid(spec, m, n);
  const Shape shape = spec.allocation.by_column()
                          ? Shape{grid.rows, RowNumbers(spec, grid.groups)}
                          : Shape{grid.rows, grid.groups, spec.levels.table_numbers()};
  decls->push_back({std::string(kTables), spec.storage.dtype(), shape});
}

void StoreSharedTable(const Spec& spec, const CodedShared& shared, absl::Span<PackedTensor> out) {
  if (!IsShared(spec)) return;
  StoreNumbers(spec.storage.dtype(), shared.table.data(), shared.table.size(),
               Named(out, kTables).bytes.data());
}

absl::Status LoadSharedTable(const Spec& spec, absl::Span<const PackedView> in,
                             CodedShared* shared) {
  if (!IsShared(spec)) return absl::OkStatus();
  const int64_t count = spec.levels.table_numbers();
  shared->table.resize(count);
  LoadNumbers(spec.storage.dtype(), Named(in, kTables).bytes.data(), count, shared->table.data());
  return CheckTable(shared->table.data(), count, true, 0, 0);
}

void StoreTables(const Spec& spec, const Coded& coded, absl::Span<PackedTensor> out) {
  if (!HasTables(spec) || IsShared(spec)) return;
  const DType dtype = spec.storage.dtype();
  const int64_t bytes = DTypeBytes(dtype), row_numbers = RowNumbers(spec, coded.groups);
  const int64_t stride = coded.levels.table_numbers();
  std::byte* stored = Named(out, kTables).bytes.data();
  ForStoredRows(coded, [&](int64_t row, int64_t p) {
    std::byte* to = stored + row * row_numbers * bytes;
    const float* from = coded.tables.data() + p * coded.groups * stride;
    for (int64_t g = 0; g < coded.groups; ++g, from += stride) {
      const int64_t own = OwnNumbers(spec, coded, g);
      StoreNumbers(dtype, from, own, to);
      to += own * bytes;
    }
  });
}

absl::Status LoadTables(const Spec& spec, absl::Span<const PackedView> in, Coded* out) {
  if (!HasTables(spec) || IsShared(spec)) return absl::OkStatus();
  const DType dtype = spec.storage.dtype();
  const int64_t bytes = DTypeBytes(dtype), row_numbers = RowNumbers(spec, out->groups);
  const int64_t stride = out->levels.table_numbers();
  const std::byte* stored = Named(in, kTables).bytes.data();
  absl::Status status;
  ForLoadedRows(*out, [&](int64_t row, int64_t p) {
    const std::byte* from = stored + row * row_numbers * bytes;
    float* to = out->tables.data() + p * out->groups * stride;
    for (int64_t g = 0; g < out->groups && status.ok(); ++g, to += stride) {
      const int64_t own = OwnNumbers(spec, *out, g);
      LoadNumbers(dtype, from, own, to);
      std::fill(to + own, to + stride, to[own - 1]);
      status = CheckTable(to, own, IsLearned(spec), out->row_begin + p * out->group_rows, g);
      from += own * bytes;
    }
  });
  return status;
}

}  // namespace quantd
