#include "workers/methods/resolve.h"

#include <functional>

#include "absl/algorithm/container.h"
#include "workers/core/status_macros.h"
#include "workers/methods/method.h"

namespace quantd {
namespace {

// True for a field that the caller set.
using Given = std::function<bool(absl::string_view name)>;

constexpr int kAdamSteps = 100;  // of one round, as AQLM has it

// Additive levels and the beam search over their codes need each other.
void FillAdditive(const Given& has, Spec* spec) {
  Levels& l = spec->levels;
  Solve& s = spec->solve;
  if (has("levels") && l.additive() && !has("solver")) s.solver = Solver::kBeam;
  if (has("solver") && s.solver == Solver::kBeam && !has("levels")) l.kind = LevelKind::kAdditive;
  if (s.solver == Solver::kBeam && has("update") && s.update == CodebookRule::kAdam &&
      !has("update-steps")) {
    s.update_steps = kAdamSteps;
  }
  if (!l.additive()) return;
  // Refined first codebooks leave less for others to do: from the third on that costs more than it
  // gains (docs/quality.md).
  if (!has("refine-rounds") && l.codebooks > 2) spec->fit.refine_rounds = 0;
  Partition& p = spec->partition;
  if (spec->storage.kind == StorageKind::kTable && !has("granularity")) {
    p.granularity = Granularity::kGroup;
  }
  if (p.granularity == Granularity::kGroup && !has("group-size")) p.group_size = l.in_group;
}

void FillLevels(bool bits_given, bool fit_given, Spec* spec) {
  Levels& l = spec->levels;
  if (!bits_given && l.fixed_bits() != 0) l.bits = l.fixed_bits();
  if (fit_given) return;
  if (l.kind == LevelKind::kLearnedTable) {
    spec->fit.kind = FitKind::kKMeans;
  } else if (l.kind == LevelKind::kBinaryCoding) {
    spec->fit.kind = FitKind::kBinarySearch;
  } else if (l.additive() && spec->fit.kind != FitKind::kGiven) {
    spec->fit.kind = FitKind::kResidualKMeans;
  }
}

}  // namespace

void FillDependentFields(absl::Span<const SpecField* const> given, Spec* spec) {
  const Given has = [&](absl::string_view name) {
    return absl::c_linear_search(given, FindSpecField(name));
  };
  FillAdditive(has, spec);
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
    const std::vector<const SpecField*> fields = FieldsOfKey(key);
    given.insert(given.end(), fields.begin(), fields.end());
  }
  FillDependentFields(given, &spec);
  return spec;
}

}  // namespace quantd
