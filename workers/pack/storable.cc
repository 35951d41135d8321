#include "workers/pack/storable.h"

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/shape.h"
#include "workers/core/spec_names.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

// Leaves room for eight bytes per element and for padding in every product below 2^63.
constexpr uint64_t kMaxElements = uint64_t{1} << 56;
// Above this, stripes of whole super groups would no longer be small parts of a weight.
constexpr int kMaxSuperGroup = 4096;

template <typename Enum, size_t N>
bool IsNamed(Enum value, const absl::string_view (&)[N]) {
  return value != Enum::kUnspecified && static_cast<size_t>(value) < N;
}

// Also true for NaN's opposite: a NaN lies in no range.
bool InRange(double value, double max) { return value >= 0 && value <= max; }

absl::Status CheckBooks(absl::string_view layout, const Levels& levels) {
  const struct {
    absl::string_view axis;
    int value, max;
  } counts[] = {{"codebooks", levels.codebooks, 16},
                {"codebook-bits", levels.codebook_bits, 16},
                {"out-group", levels.out_group, 64},
                {"in-group", levels.in_group, 64}};
  for (const auto& count : counts) {
    if (count.value < 1 || count.value > count.max) {
      return CannotStore(layout, count.axis, absl::StrCat(count.value),
                         absl::StrCat("1 to ", count.max));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLevels(absl::string_view layout, const Levels& levels) {
  if (!IsNamed(levels.kind, kLevelKindNames)) {
    return CannotStore(layout, "levels", LevelKindName(levels.kind), "a named kind");
  }
  if (levels.bits < 2 || levels.bits > 8) {
    return CannotStore(layout, "bits", absl::StrCat(levels.bits), "2 to 8");
  }
  if (levels.additive()) return CheckBooks(layout, levels);
  if (levels.affine() && !IsNamed(levels.symmetry, kSymmetryNames)) {
    return CannotStore(layout, "symmetry", SymmetryName(levels.symmetry), "a named kind");
  }
  if (!levels.symmetric() && !IsNamed(levels.zero, kZeroPointNames)) {
    return CannotStore(layout, "zero", kZeroPointNames[0], "integer or real");
  }
  if (levels.kind == LevelKind::kMinifloat && !IsNamed(levels.format, kNumberFormatNames)) {
    return CannotStore(layout, "format", kNumberFormatNames[0], "a named format");
  }
  if (levels.kind == LevelKind::kFixedTable && !IsNamed(levels.table, kFixedTableNames)) {
    return CannotStore(layout, "table", kFixedTableNames[0], "nf4 or fp4");
  }
  if (levels.fixed_bits() != 0 && levels.bits != levels.fixed_bits()) {
    return CannotStore(
        layout, "bits", absl::StrCat(levels.bits),
        absl::StrCat(levels.fixed_bits(), " for these levels (", LevelKindName(levels.kind), ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckPartition(absl::string_view layout, const Partition& partition) {
  if (!IsNamed(partition.granularity, kGranularityNames)) {
    return CannotStore(layout, "granularity", GranularityName(partition.granularity),
                       "tensor, row, group or column");
  }
  if (partition.granularity != Granularity::kGroup) return absl::OkStatus();
  if (partition.group_size < 1) {
    return CannotStore(layout, "group_size", absl::StrCat(partition.group_size),
                       "at least one weight");
  }
  if (partition.axis != GroupAxis::kOut && partition.axis != GroupAxis::kIn) {
    return CannotStore(layout, "group-axis", GroupAxisName(partition.axis),
                       "out or in, decided for each weight before it is stored");
  }
  return absl::OkStatus();
}

absl::Status CheckStorage(absl::string_view layout, const Storage& storage) {
  if (!IsNamed(storage.kind, kStorageKindNames)) {
    return CannotStore(layout, "storage", StorageKindName(storage.kind), "a named kind");
  }
  const bool is_int = storage.kind == StorageKind::kInt;
  if (!is_int && storage.kind != StorageKind::kTable) return absl::OkStatus();
  if (storage.bits < 2 || storage.bits > 8) {
    return CannotStore(layout, "scale-bits", absl::StrCat(storage.bits), "2 to 8");
  }
  if (!is_int) return absl::OkStatus();
  if (storage.super_group < 1 || storage.super_group > kMaxSuperGroup) {
    return CannotStore(layout, "super-group", absl::StrCat(storage.super_group),
                       absl::StrCat("1 to ", kMaxSuperGroup, " rows"));
  }
  return absl::OkStatus();
}

absl::Status CheckShares(absl::string_view layout, const Spec& spec) {
  const Exceptions& e = spec.exceptions;
  const struct {
    absl::string_view axis;
    double value, max;
  } shares[] = {{"outlier-share", e.share, 0.5},       {"second-share", e.second_share, 0.5},
                {"column-share", e.column_share, 1},   {"max-share", e.max_share, 0.5},
                {"kept-columns", e.kept_columns, 0.5}, {"high-share", spec.allocation.share, 1}};
  for (const auto& share : shares) {
    if (!InRange(share.value, share.max)) {
      return CannotStore(layout, share.axis, absl::StrCat(share.value),
                         absl::StrCat("shares from 0 to ", share.max));
    }
  }
  if (e.recent_rows < 0) {
    return CannotStore(layout, "recent-rows", absl::StrCat(e.recent_rows), "0 or more rows");
  }
  const Allocation& a = spec.allocation;
  if (a.kind == AllocationKind::kColumnScore && (a.high_bits < 2 || a.high_bits > 8)) {
    return CannotStore(layout, "high-bits", absl::StrCat(a.high_bits), "2 to 8");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CannotStore(absl::string_view layout, absl::string_view axis, absl::string_view value,
                         absl::string_view takes) {
  return absl::InvalidArgumentError(absl::StrCat("layout '", layout, "' cannot store ", axis, " = ",
                                                 value, ": it takes ", takes));
}

absl::Status CheckStorable(absl::string_view layout, const Spec& spec, int64_t m, int64_t n) {
  QUANTD_RETURN_IF_ERROR(CheckLevels(layout, spec.levels));
  QUANTD_RETURN_IF_ERROR(CheckPartition(layout, spec.partition));
  QUANTD_RETURN_IF_ERROR(CheckStorage(layout, spec.storage));
  QUANTD_RETURN_IF_ERROR(CheckShares(layout, spec));
  const Shape shape = {m, n};
  if (m < 1 || n < 1) {
    return CannotStore(layout, "shape", ShapeString(shape), "at least one row and one column");
  }
  const absl::StatusOr<uint64_t> elements = CheckedElements(shape, "weight");
  if (!elements.ok() || *elements > kMaxElements) {
    return CannotStore(layout, "shape", ShapeString(shape), "at most 2^56 elements");
  }
  constexpr int64_t kMaxDimension = std::numeric_limits<int32_t>::max();
  if (m > kMaxDimension || n > kMaxDimension) {
    return CannotStore(layout, "shape", ShapeString(shape), "dimensions below 2^31");
  }
  return absl::OkStatus();
}

bool NeedsGroupIndex(const Spec& spec, int64_t n) {
  return spec.solve.solver == Solver::kGptq && spec.solve.timing == GroupTiming::kDynamic &&
         spec.solve.order != Order::kNatural && !spec.partition.per_ic() &&
         spec.partition.GroupsPerRow(n) > 1;
}

}  // namespace quantd
