#include "workers/core/spec.h"

#include <algorithm>

#include "absl/types/span.h"
#include "workers/core/spec_names.h"

namespace quantd {
namespace {

template <typename E>
absl::string_view NameOf(E value, absl::Span<const absl::string_view> names) {
  const size_t number = static_cast<size_t>(value);
  return number < names.size() ? names[number] : names[0];
}

}  // namespace

int Levels::fixed_bits() const {
  switch (kind) {
    case LevelKind::kMinifloat:
      if (format == NumberFormat::kE2M1) return 4;
      return format == NumberFormat::kE3M2 || format == NumberFormat::kE2M3 ? 6 : 8;
    case LevelKind::kFixedTable:
      return 4;
    case LevelKind::kCluster:
      return 3;
    default:
      return 0;
  }
}

int LadderRetries(const Damping& damping) {
  int retries = 0;
  double fraction = damping.fraction;
  while (fraction < damping.limit && retries < kMaxRungs) {
    // A ladder that starts at zero has nothing to multiply: its second rung is the usual damping.
    fraction = fraction > 0 ? fraction * damping.step : Damping().fraction;
    fraction = std::min(fraction, damping.limit);
    ++retries;
  }
  return retries;
}

absl::string_view SymmetryName(Symmetry v) { return NameOf(v, kSymmetryNames); }
absl::string_view LevelKindName(LevelKind v) { return NameOf(v, kLevelKindNames); }
absl::string_view GranularityName(Granularity v) { return NameOf(v, kGranularityNames); }
absl::string_view GroupAxisName(GroupAxis v) { return NameOf(v, kGroupAxisNames); }
absl::string_view TailPolicyName(TailPolicy v) { return NameOf(v, kTailPolicyNames); }
absl::string_view FitKindName(FitKind v) { return NameOf(v, kFitKindNames); }
absl::string_view StorageKindName(StorageKind v) { return NameOf(v, kStorageKindNames); }
absl::string_view ScalingKindName(ScalingKind v) { return NameOf(v, kScalingKindNames); }
absl::string_view RotationKindName(RotationKind v) { return NameOf(v, kRotationKindNames); }
absl::string_view OutlierKindName(OutlierKind v) { return NameOf(v, kOutlierKindNames); }
absl::string_view AllocationKindName(AllocationKind v) { return NameOf(v, kAllocationKindNames); }
absl::string_view OrderName(Order v) { return NameOf(v, kOrderNames); }
absl::string_view GroupTimingName(GroupTiming v) { return NameOf(v, kGroupTimingNames); }
absl::string_view FactorizationName(Factorization v) { return NameOf(v, kFactorizationNames); }
absl::string_view SolverName(Solver v) { return NameOf(v, kSolverNames); }

}  // namespace quantd
