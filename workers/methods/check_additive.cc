#include "workers/methods/check_additive.h"

#include "absl/strings/str_cat.h"
#include "workers/core/spec_fields.h"
#include "workers/core/status_macros.h"
#include "workers/methods/spec_error.h"

namespace quantd {
namespace {

// What speaks to additive levels alone, and what of it to one fit alone.
absl::Status CheckCompany(const Spec& spec) {
  const bool additive = spec.levels.additive();
  const std::string levels = SpecValue("levels", spec);
  const FitKind fit = spec.fit.kind;
  if (additive != (fit == FitKind::kResidualKMeans || fit == FitKind::kGiven)) {
    return SpecError("fit",
                     absl::StrCat(levels, " levels are not found by ", SpecValue("fit", spec),
                                  "; residual-k-means and given go with additive levels"));
  }
  if (additive && spec.solve.solver != Solver::kBeam) {
    return SpecError("solver",
                     absl::StrCat("additive levels need beam, not ", SpecValue("solver", spec)));
  }
  if (!additive && spec.solve.solver == Solver::kBeam) {
    return SpecError("solver", absl::StrCat("beam searches additive levels, not ", levels));
  }
  if (!additive && spec.storage.kind == StorageKind::kTable) {
    return SpecError("storage",
                     absl::StrCat("table keeps scales of additive levels, not of ", levels));
  }
  for (const absl::string_view name : {"refine-rounds", "points-per-center"}) {
    if (!additive && FindSpecField(name)->get(spec) > 0) {
      return SpecError(
          name, absl::StrCat(SpecValue(name, spec), " speaks to fit residual-k-means alone"));
    }
  }
  if (fit != FitKind::kGiven && spec.solve.changed_share < 1) {
    return SpecError("changed-share",
                     absl::StrCat(SpecValue("changed-share", spec),
                                  " goes with fit given: new codebooks want all codes anew"));
  }
  return absl::OkStatus();
}

absl::Status CheckBooks(const Levels& l) {
  const int64_t numbers = l.codebooks * l.entries() * l.out_group * l.in_group;
  if (numbers <= kMaxBookNumbers) return absl::OkStatus();
  return SpecError("codebook-bits",
                   absl::StrCat(l.codebook_bits, ": ", l.codebooks, " x 2^", l.codebook_bits,
                                " entries of ", l.out_group, " x ", l.in_group, " are ", numbers,
                                " numbers, at most ", kMaxBookNumbers));
}

absl::Status CheckScales(const Spec& spec) {
  const Partition& p = spec.partition;
  const bool group = p.granularity == Granularity::kGroup;
  if (!group && p.granularity != Granularity::kRow) {
    return SpecError("granularity",
                     absl::StrCat("additive levels have a scale for each out group (row) or for "
                                  "each patch (group), not ",
                                  SpecValue("granularity", spec)));
  }
  if (group && p.axis != GroupAxis::kOut) {
    return SpecError("group-axis",
                     absl::StrCat("additive levels have patches along rows: out, not ",
                                  SpecValue("group-axis", spec)));
  }
  if (group && p.group_size != spec.levels.in_group) {
    return SpecError(
        "group-size",
        absl::StrCat(p.group_size, " is not spec.levels.in_group ", spec.levels.in_group,
                     ": scales of additive levels are those of patches"));
  }
  if (group && p.tail != TailPolicy::kReject) {
    return SpecError("tail", "additive levels have whole patches only: reject");
  }
  const StorageKind storage = spec.storage.kind;
  if (storage != StorageKind::kF16 && storage != StorageKind::kTable) {
    return SpecError("storage", absl::StrCat("additive levels keep scales as f16 or table, not ",
                                             SpecValue("storage", spec)));
  }
  if (storage == StorageKind::kTable && !group) {
    return SpecError("storage", "table is for the many scales of patches: needs granularity group");
  }
  return absl::OkStatus();
}

// Axes that change the weight before it is coded, or take parts of it out.
absl::Status CheckAlone(const Spec& spec) {
  const Spec without;
  for (const absl::string_view name : {"scaling", "rotation", "correction", "outliers",
                                       "kept-columns", "mask-of", "recent-rows", "allocation"}) {
    const SpecField* field = FindSpecField(name);
    if (field->get(spec) == field->get(without)) continue;
    return SpecError(name,
                     absl::StrCat(SpecValue(name, spec), " does not go with additive levels"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckAdditive(const Spec& spec) {
  QUANTD_RETURN_IF_ERROR(CheckCompany(spec));
  if (!spec.levels.additive()) return absl::OkStatus();
  QUANTD_RETURN_IF_ERROR(CheckBooks(spec.levels));
  QUANTD_RETURN_IF_ERROR(CheckScales(spec));
  return CheckAlone(spec);
}

}  // namespace quantd
