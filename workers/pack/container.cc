#include "workers/pack/container.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "workers/core/shape.h"
#include "workers/core/spec_names.h"
#include "workers/core/status_macros.h"
#include "workers/pack/storable.h"

namespace quantd {
namespace {

constexpr absl::string_view kPlainHolds = "; layout 'plain' can hold it";
constexpr absl::string_view kAqlmHolds = "; layout 'plain' or 'aqlm' can hold it";

absl::Status CheckExceptions(absl::string_view layout, const Exceptions& exceptions,
                             bool outliers) {
  if (exceptions.stores_outliers() && !outliers) {
    return CannotStore(layout, "outliers",
                       kOutlierKindNames[static_cast<size_t>(exceptions.outliers)],
                       absl::StrCat("no outliers", kPlainHolds));
  }
  if (exceptions.kept_columns > 0) {
    return CannotStore(layout, "kept-columns", absl::StrCat(exceptions.kept_columns),
                       absl::StrCat("no kept columns", kPlainHolds));
  }
  if (exceptions.recent_rows > 0) {
    return CannotStore(layout, "recent-rows", absl::StrCat(exceptions.recent_rows),
                       absl::StrCat("no 16-bit rows", kPlainHolds));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckContainer(absl::string_view layout, const Spec& spec,
                            const Container& container) {
  if (spec.levels.kind != container.levels) {
    const absl::string_view holds = spec.levels.additive() ? kAqlmHolds : kPlainHolds;
    return CannotStore(layout, "levels", LevelKindName(spec.levels.kind),
                       absl::StrCat(LevelKindName(container.levels), " only", holds));
  }
  if (spec.levels.real_zero() && !container.real_zeros) {
    return CannotStore(layout, "zero", "real", absl::StrCat("integer zero points", kPlainHolds));
  }
  if (spec.partition.granularity == Granularity::kColumn) {
    return CannotStore(layout, "granularity", "column",
                       absl::StrCat("groups along rows", kPlainHolds));
  }
  if (spec.partition.per_ic()) {
    return CannotStore(layout, "group-axis", "in", absl::StrCat("groups along rows", kPlainHolds));
  }
  const auto& storages = container.storages;
  if (std::find(storages.begin(), storages.end(), spec.storage.kind) == storages.end()) {
    return CannotStore(layout, "storage", StorageKindName(spec.storage.kind),
                       absl::StrCat(absl::StrJoin(storages, " or ",
                                                  [](std::string* out, StorageKind kind) {
                                                    absl::StrAppend(out, StorageKindName(kind));
                                                  }),
                                    container.storage_reason));
  }
  QUANTD_RETURN_IF_ERROR(CheckExceptions(layout, spec.exceptions, container.outliers));
  if (spec.allocation.kind == AllocationKind::kColumnScore) {
    return CannotStore(layout, "allocation", "column-score",
                       absl::StrCat("one width for all columns", kPlainHolds));
  }
  if (spec.transform.rotation == RotationKind::kInput ||
      spec.transform.rotation == RotationKind::kBoth) {
    return CannotStore(layout, "rotation",
                       kRotationKindNames[static_cast<size_t>(spec.transform.rotation)],
                       absl::StrCat("weights in their own basis, because its readers undo no "
                                    "rotation",
                                    kPlainHolds));
  }
  return absl::OkStatus();
}

absl::Status CheckBlocks(absl::string_view layout, const Spec& spec, int64_t m, int64_t n,
                         int64_t block) {
  if (spec.partition.granularity != Granularity::kGroup) {
    return CannotStore(layout, "granularity", GranularityName(spec.partition.granularity), "group");
  }
  if (spec.partition.group_size != block) {
    return CannotStore(layout, "group_size", absl::StrCat(spec.partition.group_size),
                       absl::StrCat(block, ", the block of the format"));
  }
  if (n % block != 0) {
    return CannotStore(layout, "shape", ShapeString({m, n}),
                       absl::StrCat("multiples of ", block, " columns"));
  }
  if (NeedsGroupIndex(spec, n)) {
    return CannotStore(layout, "group timing", GroupTimingName(spec.solve.timing),
                       "groups of neighbouring columns; use static timing or natural order");
  }
  return absl::OkStatus();
}

}  // namespace quantd
