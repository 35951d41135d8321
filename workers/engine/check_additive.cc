#include "workers/engine/check_additive.h"

#include "absl/strings/str_cat.h"
#include "workers/core/shape.h"
#include "workers/levels/additive.h"

namespace quantd {
namespace {

absl::Status Invalid(const std::string& name, const std::string& text) {
  return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "': ", text));
}

absl::Status CheckDivides(const std::string& name, absl::string_view field, int64_t group,
                          int64_t size, absl::string_view what) {
  if (size % group == 0) return absl::OkStatus();
  return Invalid(name, absl::StrCat(field, " ", group, " does not divide its ", size, " ", what));
}

}  // namespace

bool IsGivenCode(Role role) {
  return role == Role::kCodebooks || role == Role::kScales || role == Role::kCodes;
}

absl::Status CheckPatches(const Spec& spec, const std::string& name, int64_t m, int64_t n) {
  if (!spec.levels.additive()) return absl::OkStatus();
  const absl::Status rows = CheckDivides(name, "out_group", spec.levels.out_group, m, "rows");
  if (!rows.ok()) return rows;
  return CheckDivides(name, "in_group", spec.levels.in_group, n, "columns");
}

absl::Status CheckAdditiveStart(const Spec& spec, const std::string& name, int64_t m, int64_t n) {
  if (!spec.levels.additive()) return absl::OkStatus();
  const Levels& l = spec.levels;
  if (spec.fit.kind == FitKind::kGiven && spec.storage.kind == StorageKind::kTable) {
    return Invalid(name,
                   "given scales are stored as they are: storage table does not go with fit "
                   "given; use storage f16");
  }
  const AdditiveShape shape = AdditiveShape::Of(spec, m, n);
  if (spec.storage.kind == StorageKind::kTable && shape.in_groups() == 1) {
    return Invalid(name,
                   "its rows have one patch each, whose scale needs no table; use storage f16");
  }
  const int64_t patches = shape.out_groups() * shape.in_groups();
  if (spec.fit.kind == FitKind::kGiven || patches >= shape.entries) return absl::OkStatus();
  return Invalid(name, absl::StrCat("its ", patches, " patches of ", l.out_group, " x ", l.in_group,
                                    " are fewer than the ", shape.entries,
                                    " entries of a codebook; lower codebook_bits"));
}

absl::Status CheckGivenShape(const Spec& spec, const TensorDecl& t, const TensorDecl& weight) {
  const AdditiveShape s = AdditiveShape::Of(spec, weight.shape[0], weight.shape[1]);
  const auto is = [&](const Shape& wanted) { return t.shape == wanted; };
  const auto wrong = [&](const Shape& wanted, absl::string_view more) {
    return Invalid(t.name, absl::StrCat("shape ", ShapeString(t.shape), " is not ",
                                        ShapeString(wanted), more, " for '", weight.name, "'"));
  };
  if (t.role == Role::kCodebooks) {
    const Shape wanted = {s.codebooks, s.entries, s.out_group, s.in_group};
    return is(wanted) ? absl::OkStatus() : wrong(wanted, "");
  }
  if (t.role == Role::kCodes) {
    const Shape wanted = {s.out_groups(), s.in_groups(), s.codebooks};
    return is(wanted) ? absl::OkStatus() : wrong(wanted, "");
  }
  const Shape of_group = {s.out_groups()}, of_patch = {s.out_groups(), s.in_groups()};
  const bool by_patch = spec.partition.granularity == Granularity::kGroup;
  if (is(of_group) || (by_patch && is(of_patch))) return absl::OkStatus();
  return wrong(of_group, by_patch ? absl::StrCat(" nor ", ShapeString(of_patch)) : std::string());
}

absl::Status CheckCheckpoint(const TensorDecl& t) {
  if (t.dtype != DType::kU8 || t.shape.size() != 1 || t.shape[0] < 1) {
    return Invalid(t.name, absl::StrCat("a CHECKPOINT is U8 [bytes], got ", DTypeName(t.dtype), " ",
                                        ShapeString(t.shape)));
  }
  return absl::OkStatus();
}

}  // namespace quantd
