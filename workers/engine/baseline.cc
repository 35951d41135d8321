#include "workers/engine/baseline.h"

#include <algorithm>
#include <cmath>

#include "workers/core/spec_fields.h"

namespace quantd {
namespace {

// Codes of patches have no scalar twin: what a user would take instead at about their bits.
void ReplaceAdditive(Spec* b) {
  const int bits = static_cast<int>(std::nearbyint(b->levels.additive_bits()));
  b->levels = {.bits = std::clamp(bits, 2, 8), .symmetry = Symmetry::kAsymmetric};
  b->partition = {.group_size = 128, .tail = TailPolicy::kShortLastGroup};
  b->storage = Storage();
}

}  // namespace

Spec BaselineOf(const Spec& spec) {
  Spec b;
  b.method = "rtn";
  b.levels = spec.levels;
  b.partition = spec.partition;
  b.storage = spec.storage;
  if (b.levels.additive()) ReplaceAdditive(&b);
  if (!b.levels.scaled() || b.levels.kind == LevelKind::kCluster)
    b.levels = {.bits = b.levels.bits};
  b.levels.zero = ZeroPoint::kInteger;
  if (b.partition.granularity == Granularity::kColumn) b.partition.granularity = Granularity::kRow;
  if (b.storage.kind == StorageKind::kInt) b.storage.kind = StorageKind::kF16;
  return b;
}

bool IsBaseline(const Spec& spec) {
  if (spec.transform.any() || spec.exceptions.any() || spec.fit.kind != FitKind::kMinMax ||
      spec.solve.solver != Solver::kRtn) {
    return false;
  }
  const Spec baseline = BaselineOf(spec);
  const auto same = [&](absl::string_view name) {
    const SpecField* field = FindSpecField(name);
    return field->get(spec) == field->get(baseline);
  };
  return same("levels") && same("zero") && same("granularity") && same("storage");
}

}  // namespace quantd
