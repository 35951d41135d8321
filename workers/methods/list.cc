#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "workers/methods/gptq.h"
#include "workers/methods/method.h"
#include "workers/methods/rtn.h"

namespace quantd {

absl::Span<const Method* const> AllMethods() {
  static const Method* const methods[] = {&RtnMethod(), &GptqMethod()};
  return methods;
}

absl::StatusOr<const Method*> FindMethod(absl::string_view name) {
  std::string known;
  for (const Method* m : AllMethods()) {
    if (m->name() == name) return m;
    absl::StrAppend(&known, known.empty() ? "" : ", ", m->name());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("spec.method: '", name, "' is not one of ", known));
}

absl::Status CheckAffineAxes(const Spec& spec) {
  const auto bad = [](const std::string& text) { return absl::InvalidArgumentError(text); };
  if (spec.levels.bits < 2 || spec.levels.bits > 8) {
    return bad(absl::StrCat("spec.levels.bits: ", spec.levels.bits, " is not in 2..8"));
  }
  if (spec.levels.symmetry == Symmetry::kUnspecified) {
    return bad("spec.levels.symmetry: unspecified");
  }
  if (spec.partition.granularity == Granularity::kUnspecified) {
    return bad("spec.partition.granularity: unspecified");
  }
  if (spec.partition.granularity == Granularity::kGroup && spec.partition.group_size < 1) {
    return bad(absl::StrCat("spec.partition.group_size: ", spec.partition.group_size,
                            " is not at least 1"));
  }
  if (!IsRealDType(spec.scale_dtype)) {
    return bad(absl::StrCat("spec.scale_storage: ", DTypeName(spec.scale_dtype),
                            " is not F32, F16 or BF16"));
  }
  if (spec.fit.kind == FitKind::kShrinkSearch) {
    if (spec.fit.steps < 1 || spec.fit.steps > 1000) {
      return bad(absl::StrCat("spec.fit.steps: ", spec.fit.steps, " is not in 1..1000"));
    }
    if (!(spec.fit.shrink_to > 0 && spec.fit.shrink_to <= 1)) {
      return bad(absl::StrCat("spec.fit.shrink_to: ", spec.fit.shrink_to, " is not in (0, 1]"));
    }
    if (!(spec.fit.norm >= 1 && spec.fit.norm <= 4)) {
      return bad(absl::StrCat("spec.fit.norm: ", spec.fit.norm, " is not in [1, 4]"));
    }
  } else if (spec.fit.kind != FitKind::kMinMax) {
    return bad("spec.fit.kind: unspecified");
  }
  return absl::OkStatus();
}

}  // namespace quantd
