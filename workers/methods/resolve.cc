#include "workers/methods/resolve.h"

#include "absl/algorithm/container.h"
#include "workers/core/status_macros.h"
#include "workers/methods/method.h"

namespace quantd {
namespace {

void FillLevels(bool bits_given, bool fit_given, Spec* spec) {
  Levels& l = spec->levels;
  if (!bits_given && l.fixed_bits() != 0) l.bits = l.fixed_bits();
  if (fit_given) return;
  if (l.kind == LevelKind::kLearnedTable) {
    spec->fit.kind = FitKind::kKMeans;
  } else if (l.kind == LevelKind::kBinaryCoding) {
    spec->fit.kind = FitKind::kBinarySearch;
  }
}

}  // namespace

void FillDependentFields(absl::Span<const SpecField* const> given, Spec* spec) {
  const auto has = [&](absl::string_view name) {
    return absl::c_linear_search(given, FindSpecField(name));
  };
  FillLevels(has("bits"), has("fit"), spec);
  Solve& s = spec->solve;
  if (s.solver != Solver::kGptq) return;
  const bool masked = spec->exceptions.mask_of > 0;
  if (has("solver") && !has("order") && !masked) s.order = Order::kActOrder;
  if (!has("factorization") && (s.timing == GroupTiming::kDynamic || masked || s.asymmetric > 0 ||
                                spec->exceptions.outliers == OutlierKind::kThreshold)) {
    s.factorization = Factorization::kCholesky;
  }
}

absl::StatusOr<Spec> ResolveSpec(absl::string_view method,
                                 absl::Span<const std::pair<std::string, std::string>> settings) {
  QUANTD_ASSIGN_OR_RETURN(const Method* preset, FindMethod(method));
  Spec spec = preset->defaults();
  std::vector<const SpecField*> given;
  for (const auto& [key, text] : settings) {
    QUANTD_RETURN_IF_ERROR(SetSpecField(key, text, &spec));
    given.push_back(FindSpecField(key));
  }
  FillDependentFields(given, &spec);
  return spec;
}

}  // namespace quantd
