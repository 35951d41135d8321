#include "workers/methods/check.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "workers/core/spec_fields.h"
#include "workers/core/status_macros.h"
#include "workers/methods/check_additive.h"
#include "workers/methods/method.h"
#include "workers/methods/spec_error.h"

namespace quantd {
namespace {

absl::Status CheckRanges(const Spec& spec) {
  for (const SpecField& field : SpecFields()) {
    const double value = field.get(spec);
    const std::string where = absl::StrCat("spec.", field.path);
    if (field.type == SpecField::Type::kEnum) {
      if (value < 1 || value >= static_cast<double>(field.names.size())) {
        return absl::InvalidArgumentError(absl::StrCat(where, ": unspecified"));
      }
    } else {
      QUANTD_RETURN_IF_ERROR(CheckFieldValue(field, value, where));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFixed(const Spec& spec) {
  QUANTD_ASSIGN_OR_RETURN(const Method* method, FindMethod(spec.method));
  const Spec preset = method->defaults();
  for (absl::string_view name : method->fixed) {
    const SpecField* field = FindSpecField(name);
    if (field->get(spec) != field->get(preset)) {
      return SpecError(name, absl::StrCat("method ", method->name, " is ", SpecValue(name, preset),
                                          ", not ", SpecValue(name, spec)));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLevels(const Spec& spec) {
  const Levels& l = spec.levels;
  if (l.fixed_bits() != 0 && l.bits != l.fixed_bits()) {
    const absl::string_view what = l.kind == LevelKind::kMinifloat    ? "format"
                                   : l.kind == LevelKind::kFixedTable ? "table"
                                                                      : "levels";
    return SpecError("bits", absl::StrCat(SpecValue(what, spec), " has ", l.fixed_bits(),
                                          " bits, not ", l.bits));
  }
  const bool tables = l.kind == LevelKind::kLearnedTable;
  const bool binary = l.kind == LevelKind::kBinaryCoding;
  if (tables != (spec.fit.kind == FitKind::kKMeans)) {
    return SpecError("fit",
                     absl::StrCat(SpecValue("levels", spec), " levels are not found by ",
                                  SpecValue("fit", spec), "; k-means goes with learned tables"));
  }
  if (binary != (spec.fit.kind == FitKind::kBinarySearch)) {
    return SpecError(
        "fit", absl::StrCat(SpecValue("levels", spec), " levels are not found by ",
                            SpecValue("fit", spec), "; binary-search goes with binary coding"));
  }
  if (binary && spec.fit.fine_bits <= l.bits) {
    return SpecError("fine-bits",
                     absl::StrCat(spec.fit.fine_bits, " is not above spec.levels.bits ", l.bits));
  }
  if (spec.fit.kind == FitKind::kHqq && !l.real_zero()) {
    return SpecError("fit",
                     "hqq looks for a real zero point: needs symmetry=asymmetric and zero=real");
  }
  if (spec.fit.kind == FitKind::kHqq && spec.fit.norm > 1) {
    return SpecError("norm", absl::StrCat("hqq wants a norm in (0, 1], not ", spec.fit.norm));
  }
  if (spec.fit.kind == FitKind::kShrinkSearch && spec.fit.norm < 1) {
    return SpecError("norm",
                     absl::StrCat("shrink search wants a norm in [1, 4], not ", spec.fit.norm));
  }
  return absl::OkStatus();
}

absl::Status CheckPartition(const Spec& spec) {
  const Partition& p = spec.partition;
  const LevelKind kind = spec.levels.kind;
  if (p.granularity != Granularity::kGroup && p.axis != GroupAxis::kOut) {
    return SpecError("group-axis", absl::StrCat(GroupAxisName(p.axis),
                                                " needs granularity group; one set a column is "
                                                "granularity column"));
  }
  if (p.strided && p.axis != GroupAxis::kIn) {
    return SpecError("strided", "goes with group-axis in");
  }
  if (p.strided && (p.tail != TailPolicy::kReject || spec.solve.solver != Solver::kRtn)) {
    return SpecError("strided", "wants tail reject and solver rtn");
  }
  if (kind == LevelKind::kCluster && (p.per_ic() || p.axis == GroupAxis::kAdaptive)) {
    return SpecError("levels", "clusters lie along a row: group-axis must be out");
  }
  if (kind == LevelKind::kBinaryCoding &&
      (p.per_ic() || p.axis == GroupAxis::kAdaptive || p.granularity == Granularity::kTensor)) {
    return SpecError("levels", "binary coding has one set a row or a group along a row");
  }
  if (spec.fit.kind == FitKind::kHqq && p.granularity == Granularity::kTensor) {
    return SpecError("fit", "hqq fits rows, columns and groups, not a whole tensor");
  }
  if (spec.fit.kind == FitKind::kClipSearch && p.granularity != Granularity::kGroup) {
    return SpecError("fit",
                     "clip-search reads the block of H that belongs to a group: needs granularity "
                     "group");
  }
  if (spec.fit.kind == FitKind::kClipSearch && p.axis != GroupAxis::kOut) {
    return SpecError("fit", "clip-search is for groups along rows");
  }
  if (spec.fit.kind == FitKind::kClipSearch && !spec.levels.affine()) {
    return SpecError(
        "fit", absl::StrCat("clip-search is for affine levels, not ", SpecValue("levels", spec)));
  }
  return absl::OkStatus();
}

absl::Status CheckStorage(const Spec& spec) {
  const Storage& s = spec.storage;
  const Partition& p = spec.partition;
  const std::string kind = SpecValue("storage", spec);
  if (!spec.levels.scaled() && s.coded()) {
    return SpecError("storage", absl::StrCat(kind, " stores scales; tables are f16, bf16 or f32"));
  }
  if (s.kind == StorageKind::kE8M0 && !spec.levels.symmetric()) {
    return SpecError("storage", "e8m0 scales have no zero points: needs symmetric levels");
  }
  if (s.kind == StorageKind::kE8M0 && spec.levels.affine() &&
      spec.levels.symmetry == Symmetry::kSymmetricFullRange) {
    return SpecError("storage",
                     "e8m0 scales have no sign: symmetry must not be symmetric-full-range");
  }
  if ((s.kind == StorageKind::kE4M3 || s.kind == StorageKind::kNested) &&
      (!spec.levels.symmetric() || p.granularity != Granularity::kGroup ||
       p.axis != GroupAxis::kOut || spec.fit.kind != FitKind::kMinMax ||
       spec.solve.timing == GroupTiming::kDynamic)) {
    return SpecError("storage", absl::StrCat(kind,
                                             " is for symmetric levels in static groups along rows "
                                             "with fit min-max"));
  }
  if (s.kind == StorageKind::kInt &&
      (!spec.levels.real_zero() || p.granularity != Granularity::kGroup ||
       p.axis != GroupAxis::kOut)) {
    return SpecError("storage", "int quantizes scales and real zeros of groups along rows");
  }
  if (s.coded() && p.granularity == Granularity::kTensor) {
    return SpecError("storage",
                     absl::StrCat(kind, " is for many scales; granularity tensor has one"));
  }
  return absl::OkStatus();
}

absl::Status CheckDamping(const Damping& d) {
  if (!(d.limit >= d.fraction)) {
    return SpecError("damping",
                     absl::StrCat("needs fraction <= limit, got ", d.fraction, " and ", d.limit));
  }
  if (!(d.step > 1.0)) return SpecError("damping-step", absl::StrCat(d.step, " is not above 1"));
  if (LadderRetries(d) >= kMaxRungs) {
    return SpecError("damping", absl::StrCat("step ", d.step, " from ", d.fraction, " needs ",
                                             kMaxRungs, " rungs or more to reach ", d.limit));
  }
  return absl::OkStatus();
}

absl::Status CheckSweep(const Spec& spec) {
  const Solve& s = spec.solve;
  const Partition& p = spec.partition;
  QUANTD_RETURN_IF_ERROR(CheckDamping(s.damping));
  if (spec.levels.kind == LevelKind::kCluster) {
    return SpecError("solver", "clusters are rounded together, a sweep takes one column at a time");
  }
  const bool right_looking = s.factorization == Factorization::kCholesky;
  if (s.timing == GroupTiming::kDynamic) {
    if (p.granularity != Granularity::kGroup || p.axis != GroupAxis::kOut) {
      return SpecError("timing", "dynamic groups need spec.partition.granularity group along rows");
    }
    if (!right_looking) {
      return SpecError(
          "factorization",
          "ldlq reads the untouched weight, so it cannot fit dynamic groups; use cholesky");
    }
    if (s.order == Order::kGroupAware) {
      return SpecError("order", "group-aware order is for static groups; use act-order");
    }
    if (!spec.levels.scaled()) return SpecError("timing", "tables of rows are static");
    if (spec.fit.kind == FitKind::kClipSearch) {
      return SpecError(
          "fit", "clip-search reads blocks of H of neighbouring columns: needs static groups");
    }
    if (s.descent_passes > 0) return SpecError("descent-passes", "wants static groups");
  }
  if (s.order == Order::kGroupAware &&
      (p.granularity != Granularity::kGroup || p.axis != GroupAxis::kOut)) {
    return SpecError("order",
                     "group-aware order needs spec.partition.granularity group along rows");
  }
  if ((s.asymmetric > 0 || spec.exceptions.mask_of > 0) && !right_looking) {
    return SpecError("factorization",
                     absl::StrCat(s.asymmetric > 0 ? "the cross moment's feedback" : "a mask",
                                  " needs values that hold all feedback so far; use cholesky"));
  }
  if (s.asymmetric > 0 && s.descent_passes > 0) {
    return SpecError("descent-passes", "descent knows no cross moment");
  }
  return absl::OkStatus();
}

absl::Status CheckExceptions(const Spec& spec) {
  const Exceptions& e = spec.exceptions;
  const bool threshold = e.outliers == OutlierKind::kThreshold;
  if (threshold && (spec.solve.solver != Solver::kGptq ||
                    spec.solve.factorization != Factorization::kCholesky)) {
    return SpecError("outliers",
                     "threshold looks at the errors of a sweep: needs solver gptq with "
                     "factorization cholesky");
  }
  if ((e.mask_kept > 0 || e.mask_of > 0) && (e.mask_kept < 1 || e.mask_kept >= e.mask_of)) {
    return SpecError("mask-kept", absl::StrCat(e.mask_kept, " of ", e.mask_of, " is no mask"));
  }
  if (e.mask_of > 0) {
    const bool exact_zero = spec.levels.affine() ? !spec.levels.real_zero()
                                                 : spec.levels.kind == LevelKind::kMinifloat ||
                                                       spec.levels.kind == LevelKind::kFixedTable;
    if (!exact_zero) {
      return SpecError("mask-of", absl::StrCat("a mask needs an exact zero; ",
                                               SpecValue("levels", spec), " levels have none"));
    }
    if (spec.transform.rotation != RotationKind::kNone) {
      return SpecError("mask-of", "a rotation takes the meaning of a mask away");
    }
    if (spec.solve.solver == Solver::kGptq && spec.solve.order != Order::kNatural) {
      return SpecError("order", "a mask counts neighbours: needs natural order");
    }
    if (spec.solve.timing == GroupTiming::kDynamic) {
      return SpecError("timing", "a mask wants static groups");
    }
  }
  if (spec.transform.rotation != RotationKind::kNone && e.stores_outliers()) {
    return SpecError("rotation", "outliers are chosen in the uploaded basis");
  }
  if (spec.transform.rotation != RotationKind::kNone &&
      spec.fit.importance == Importance::kFisher) {
    return SpecError("rotation", "scores of single weights lose their meaning in a rotated basis");
  }
  if (spec.transform.rotation != RotationKind::kNone && e.recent_rows > 0) {
    return SpecError("rotation", "recent rows are kept as they are, not rotated");
  }
  if (e.any() && spec.levels.kind == LevelKind::kCluster) {
    return SpecError("levels", "clusters have no exceptions beside their own");
  }
  if (e.stores_outliers() && e.mask_of > 0) return SpecError("outliers", "do not go with a mask");
  if (e.kept_columns > 0 && e.mask_of > 0) {
    return SpecError("kept-columns", "end the sweep, and a mask counts neighbours in it");
  }
  if (spec.partition.granularity == Granularity::kTensor &&
      (e.stores_outliers() || e.kept_columns > 0 || e.recent_rows > 0)) {
    return SpecError("granularity",
                     "one set for a tensor is found before its exceptions, so that these "
                     "would still stretch it");
  }
  if (e.any() && spec.partition.strided) {
    return SpecError("strided", "exceptions want rows in their own order");
  }
  if (e.any() && spec.solve.descent_passes > 0) {
    return SpecError("descent-passes", "descent knows no exceptions");
  }
  return absl::OkStatus();
}

absl::Status CheckTransform(const Spec& spec) {
  const Transform& t = spec.transform;
  if (t.scaling != ScalingKind::kNone &&
      (spec.partition.per_ic() || spec.partition.axis == GroupAxis::kAdaptive)) {
    return SpecError("scaling",
                     "groups down a column have scales of their own, which undo column scales");
  }
  if (t.scaling == ScalingKind::kAwq && !spec.levels.scaled()) {
    return SpecError("scaling",
                     absl::StrCat("awq searches scaled levels, not ", SpecValue("levels", spec)));
  }
  if (spec.exceptions.outliers == OutlierKind::kThreshold && t.any()) {
    return SpecError("outliers",
                     "threshold is taken of the uploaded weight: no scaling, rotation or "
                     "correction before it");
  }
  if (t.scaling != ScalingKind::kNone && t.rotation != RotationKind::kNone) {
    return SpecError("scaling", "a rotation mixes the columns that scaling tells apart");
  }
  if (t.rotation_block == 1 || (t.rotation_block & (t.rotation_block - 1)) != 0) {
    return SpecError("rotation-block",
                     absl::StrCat(t.rotation_block, " is no power of two from 2 up"));
  }
  if (t.rotation == RotationKind::kBoth && spec.partition.strided) {
    return SpecError("strided", "does not go with a rotation of outputs");
  }
  if (t.correction != CorrectionKind::kNone && spec.solve.asymmetric > 0) {
    return SpecError("correction",
                     "does not go with spec.solve.asymmetric: both answer the same drift");
  }
  return absl::OkStatus();
}

absl::Status CheckAllocation(const Spec& spec) {
  const Allocation& a = spec.allocation;
  if (a.kind == AllocationKind::kColumnScore) {
    if (spec.levels.kind != LevelKind::kLearnedTable ||
        spec.partition.granularity != Granularity::kColumn) {
      return SpecError("allocation",
                       "column-score gives columns tables of their own: needs learned "
                       "tables with granularity column");
    }
    if (a.high_bits < spec.levels.bits) {
      return SpecError("high-bits",
                       absl::StrCat(a.high_bits, " is below spec.levels.bits ", spec.levels.bits));
    }
  }
  if (a.kind == AllocationKind::kRoundOff) {
    if (!spec.levels.affine() && spec.levels.kind != LevelKind::kLearnedTable) {
      return SpecError("allocation", "round-off varies the bits of affine levels or tables");
    }
    if (spec.levels.bits != 8) {
      return SpecError("bits", absl::StrCat("round-off chooses the bits itself, from 8 down; ",
                                            spec.levels.bits, " says nothing"));
    }
    if (spec.partition.axis == GroupAxis::kAdaptive) {
      return SpecError("allocation", "one adaptive axis at a time: round-off or group-axis");
    }
  }
  return absl::OkStatus();
}

// Groups divide the dimension that they run along.
bool Divides(const Partition& p, GroupAxis axis, int64_t m, int64_t n) {
  const int64_t size = axis == GroupAxis::kIn ? m : n;
  return p.tail != TailPolicy::kReject || size % p.group_size == 0;
}

}  // namespace

absl::Status CheckSpec(const Spec& spec) {
  QUANTD_RETURN_IF_ERROR(CheckFixed(spec));
  return CheckAxes(spec);
}

absl::Status CheckAxes(const Spec& spec) {
  QUANTD_RETURN_IF_ERROR(CheckRanges(spec));
  QUANTD_RETURN_IF_ERROR(CheckLevels(spec));
  QUANTD_RETURN_IF_ERROR(CheckAdditive(spec));
  QUANTD_RETURN_IF_ERROR(CheckPartition(spec));
  QUANTD_RETURN_IF_ERROR(CheckStorage(spec));
  if (spec.solve.solver == Solver::kGptq) {
    QUANTD_RETURN_IF_ERROR(CheckSweep(spec));
  } else if (spec.solve.asymmetric > 0) {
    return SpecError("asymmetric", "is feedback inside a sweep: needs solver gptq");
  }
  QUANTD_RETURN_IF_ERROR(CheckExceptions(spec));
  QUANTD_RETURN_IF_ERROR(CheckTransform(spec));
  return CheckAllocation(spec);
}

std::vector<Role> RequiredRoles(const Spec& spec) {
  std::vector<Role> roles;
  const bool fit_reads_h =
      spec.fit.kind == FitKind::kClipSearch ||
      (spec.fit.kind == FitKind::kKMeans && spec.fit.importance == Importance::kDiagonal);
  const bool cross = spec.transform.correction == CorrectionKind::kQep || spec.solve.asymmetric > 0;
  if (spec.solve.solver == Solver::kGptq || fit_reads_h || cross ||
      spec.transform.scaling == ScalingKind::kAwq || spec.exceptions.kept_columns > 0 ||
      spec.partition.axis == GroupAxis::kAdaptive) {
    roles.push_back(Role::kHessian);
  }
  if (spec.transform.scaling == ScalingKind::kSmooth) roles.push_back(Role::kChannelAbsMax);
  const OutlierKind outliers = spec.exceptions.outliers;
  if ((spec.fit.kind == FitKind::kKMeans && spec.fit.importance == Importance::kFisher) ||
      outliers == OutlierKind::kFisher || outliers == OutlierKind::kRangeFisher) {
    roles.push_back(Role::kFisher);
  }
  if (cross) roles.push_back(Role::kCrossMoment);
  if (outliers == OutlierKind::kGradient) roles.push_back(Role::kGradient);
  if (spec.fit.kind == FitKind::kGiven) {
    roles.push_back(Role::kCodebooks);
    roles.push_back(Role::kScales);
  }
  return roles;
}

bool UsesRole(const Spec& spec, Role role) {
  switch (role) {
    case Role::kWeight:
    case Role::kHessian:
    case Role::kActivations:
    case Role::kTokenWeight:
      return true;
    case Role::kChannelAbsMean:
      return spec.transform.scaling == ScalingKind::kAwq;
    case Role::kRotationSigns:
      return spec.transform.rotation != RotationKind::kNone;
    case Role::kCodes:
      return spec.fit.kind == FitKind::kGiven;
    case Role::kCheckpoint:
      return spec.solve.solver == Solver::kBeam;
    default:
      return absl::c_linear_search(RequiredRoles(spec), role);
  }
}

bool TiesWeights(const Spec& spec) {
  return spec.transform.scaling != ScalingKind::kNone || spec.storage.kind == StorageKind::kE4M3 ||
         spec.exceptions.kept_columns > 0;
}

bool IsAdaptive(const Spec& spec) {
  return spec.partition.axis == GroupAxis::kAdaptive ||
         spec.allocation.kind == AllocationKind::kRoundOff;
}

std::vector<Spec> CandidatesOf(const Spec& spec, int64_t m, int64_t n) {
  std::vector<Spec> candidates;
  if (spec.partition.axis == GroupAxis::kAdaptive) {
    for (const GroupAxis axis : {GroupAxis::kOut, GroupAxis::kIn}) {
      if (!Divides(spec.partition, axis, m, n)) continue;
      candidates.push_back(spec);
      candidates.back().partition.axis = axis;
    }
  } else if (spec.allocation.kind == AllocationKind::kRoundOff) {
    for (int bits = 8; bits >= 2; --bits) {
      candidates.push_back(spec);
      candidates.back().levels.bits = bits;
      candidates.back().allocation.kind = AllocationKind::kUniform;
    }
  } else {
    candidates.push_back(spec);
  }
  return candidates;
}

}  // namespace quantd
