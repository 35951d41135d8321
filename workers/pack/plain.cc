#include "workers/pack/plain.h"

#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "workers/core/shape.h"
#include "workers/core/spec_counts.h"
#include "workers/core/status_macros.h"
#include "workers/pack/codebooks.h"
#include "workers/pack/column_scale.h"
#include "workers/pack/plain_additive.h"
#include "workers/pack/plain_codes.h"
#include "workers/pack/plain_exceptions.h"
#include "workers/pack/plain_parameters.h"
#include "workers/pack/plain_shared.h"
#include "workers/pack/plain_tables.h"
#include "workers/pack/storable.h"
#include "workers/pack/stored_scales.h"

namespace quantd {
namespace {

// Combinations that no reading of the axes gives a meaning to.
absl::Status CheckStorageFits(absl::string_view layout, const Spec& spec) {
  const Storage& storage = spec.storage;
  const absl::string_view kind = StorageKindName(storage.kind);
  if (!spec.levels.scaled() && storage.coded()) {
    return CannotStore(
        layout, "storage", kind,
        absl::StrCat("f16, bf16 or f32 for the numbers of ", LevelKindName(spec.levels.kind)));
  }
  const bool two_levels = storage.kind == StorageKind::kInt || storage.kind == StorageKind::kNested;
  if (two_levels && spec.partition.granularity == Granularity::kTensor) {
    return CannotStore(layout, "storage", kind, "a second level for more than one scale");
  }
  if (two_levels && spec.partition.per_ic()) {
    return CannotStore(layout, "storage", kind, "a second level for groups along rows");
  }
  return absl::OkStatus();
}

absl::Status CheckColumnBits(absl::string_view layout, const Spec& spec) {
  if (spec.allocation.kind != AllocationKind::kColumnScore) return absl::OkStatus();
  if (spec.levels.kind != LevelKind::kLearnedTable || !spec.partition.per_ic()) {
    return CannotStore(layout, "allocation", "column-score",
                       "bits of their own for columns that have learned tables of their own");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PlainLayout::Accepts(const Spec& spec, int64_t m, int64_t n) const {
  QUANTD_RETURN_IF_ERROR(CheckStorable(name(), spec, m, n));
  QUANTD_RETURN_IF_ERROR(CheckStorageFits(name(), spec));
  QUANTD_RETURN_IF_ERROR(CheckColumnBits(name(), spec));
  QUANTD_RETURN_IF_ERROR(CheckPlainAdditive(name(), spec, m, n));
  const int64_t outliers = MaxOutliers(spec.exceptions, m, n);
  if (outliers > std::numeric_limits<int32_t>::max()) {
    return CannotStore(name(), "outliers", absl::StrCat(outliers), "at most 2^31 - 1");
  }
  // Tables may be larger than the weight; no other tensor is.
  for (const PackedDecl& decl : Declare(spec, m, n)) {
    if (!CheckedBytes(decl.shape, decl.dtype, decl.suffix).ok()) {
      return CannotStore(
          name(), "shape", ShapeString(decl.shape),
          absl::StrCat("tensors below 2^62 bytes; this would be '", decl.suffix, "'"));
    }
  }
  return absl::OkStatus();
}

std::vector<PackedDecl> PlainLayout::Declare(const Spec& spec, int64_t m, int64_t n) const {
  std::vector<PackedDecl> decls;
  DeclareCodes(spec, m, n, &decls);
  DeclareParameters(spec, m, n, &decls);
  DeclareTables(spec, m, n, &decls);
  DeclarePlainCodebooks(spec, &decls);
  DeclareShared(spec, m, n, &decls);
  DeclareExceptions(spec, m, n, &decls);
  DeclareColumnScale(spec, n, &decls);
  return decls;
}

int64_t PlainLayout::StripeGranule(const Spec& spec) const {
  if (spec.levels.additive()) return AdditiveStripeGranule(spec.levels);
  // No stripe may end inside a run or a super group of the second level.
  if (spec.storage.kind == StorageKind::kNested) return kNestedRun;
  if (spec.storage.kind == StorageKind::kInt) {
    return std::lcm(kStripeGranule, int64_t{spec.storage.super_group});
  }
  return kStripeGranule;
}

void PlainLayout::PackShared(const Spec& spec, int64_t, int64_t n, const CodedShared& shared,
                             absl::Span<PackedTensor> out) const {
  StoreSharedTable(spec, shared, out);
  StorePlainCodebooks(spec, shared, out);
  StoreShared(spec, n, shared, out);
  StoreKeptColumns(shared, out);
  StoreColumnScale(spec, shared, out);
}

void PlainLayout::PackRows(const Coded& coded, const Spec& spec, int64_t m,
                           absl::Span<PackedTensor> out) const {
  StoreCodes(spec, coded, out);
  StoreParameters(spec, coded, out);
  StoreTables(spec, coded, out);
  StoreKeptValues(spec, coded, m, out);
}

absl::Status PlainLayout::PackOutliers(const OutlierTable& outliers, const Spec&, int64_t,
                                       absl::Span<PackedTensor> out) const {
  return StoreOutliers(outliers, out);
}

absl::StatusOr<CodedShared> PlainLayout::UnpackShared(const Spec& spec, int64_t m, int64_t n,
                                                      absl::Span<const PackedView> in) const {
  CodedShared shared;
  QUANTD_RETURN_IF_ERROR(LoadSharedTable(spec, in, &shared));
  QUANTD_RETURN_IF_ERROR(LoadPlainCodebooks(spec, in, &shared));
  QUANTD_RETURN_IF_ERROR(LoadShared(spec, n, in, &shared));
  QUANTD_RETURN_IF_ERROR(LoadExceptionsShared(spec, m, n, in, &shared));
  QUANTD_RETURN_IF_ERROR(LoadColumnScale(spec, in, &shared));
  return shared;
}

absl::Status PlainLayout::UnpackRows(const Spec& spec, int64_t m, int64_t n,
                                     absl::Span<const PackedView> in, const CodedShared& shared,
                                     int64_t row_begin, int64_t rows, Coded* out) const {
  out->Reshape(spec, row_begin, rows, m, n, &shared);
  QUANTD_RETURN_IF_ERROR(LoadCodes(spec, in, out));
  QUANTD_RETURN_IF_ERROR(LoadParameters(spec, in, out));
  QUANTD_RETURN_IF_ERROR(LoadTables(spec, in, out));
  return LoadExceptions(spec, m, in, out);
}

}  // namespace quantd
