#include "workers/pack/storable.h"

#include "absl/strings/str_cat.h"
#include "workers/core/dtype.h"
#include "workers/core/shape.h"

namespace quantd {
namespace {

// Leaves room for eight bytes per element and for padding in every product below 2^63.
constexpr uint64_t kMaxElements = uint64_t{1} << 56;

}  // namespace

absl::Status CannotStore(absl::string_view layout, absl::string_view axis, absl::string_view value,
                         absl::string_view takes) {
  return absl::InvalidArgumentError(absl::StrCat("layout '", layout, "' cannot store ", axis, " = ",
                                                 value, ": it takes ", takes));
}

absl::Status CheckStorable(absl::string_view layout, const Spec& spec, int64_t m, int64_t n) {
  if (spec.levels.bits < 2 || spec.levels.bits > 8) {
    return CannotStore(layout, "bits", absl::StrCat(spec.levels.bits), "2 to 8");
  }
  if (spec.levels.symmetry == Symmetry::kUnspecified) {
    return CannotStore(layout, "symmetry", SymmetryName(spec.levels.symmetry), "a named kind");
  }
  if (spec.partition.granularity == Granularity::kUnspecified) {
    return CannotStore(layout, "granularity", GranularityName(spec.partition.granularity),
                       "tensor, row or group");
  }
  if (spec.partition.granularity == Granularity::kGroup && spec.partition.group_size < 1) {
    return CannotStore(layout, "group_size", absl::StrCat(spec.partition.group_size),
                       "at least one column");
  }
  if (!IsRealDType(spec.scale_dtype)) {
    return CannotStore(layout, "scale_dtype", DTypeName(spec.scale_dtype), "F16, BF16 or F32");
  }
  const Shape shape = {m, n};
  if (m < 1 || n < 1) {
    return CannotStore(layout, "shape", ShapeString(shape), "at least one row and one column");
  }
  const absl::StatusOr<uint64_t> elements = CheckedElements(shape, "weight");
  if (!elements.ok() || *elements > kMaxElements) {
    return CannotStore(layout, "shape", ShapeString(shape), "at most 2^56 elements");
  }
  return absl::OkStatus();
}

bool NeedsGroupIndex(const Spec& spec, int64_t n) {
  return spec.solve.solver == Solver::kGptq && spec.solve.timing == GroupTiming::kDynamic &&
         spec.solve.order != Order::kNatural && spec.partition.GroupsPerRow(n) > 1;
}

}  // namespace quantd
