#include "workers/engine/check.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "workers/compose/group_solver.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/engine/check_additive.h"
#include "workers/methods/check.h"
#include "workers/transform/rotation.h"

namespace quantd {
namespace {

constexpr size_t kMaxIdBytes = 128;

absl::Status Invalid(const std::string& text) { return absl::InvalidArgumentError(text); }

absl::Status CheckTail(const Spec& spec, const std::string& name, int64_t m, int64_t n) {
  const Partition& p = spec.partition;
  if (p.granularity != Granularity::kGroup || p.tail != TailPolicy::kReject) {
    return absl::OkStatus();
  }
  const int64_t size = p.per_ic() ? m : n;
  const absl::string_view what = p.per_ic() ? "rows" : "columns";
  if (p.group_size > size) {
    return Invalid(absl::StrCat("tensor '", name, "': group_size ", p.group_size, " is above its ",
                                size, " ", what, "; use granularity ",
                                p.per_ic() ? "column" : "row"));
  }
  if (size % p.group_size != 0) {
    return Invalid(absl::StrCat("tensor '", name, "': group_size ", p.group_size,
                                " does not divide its ", size, " ", what,
                                "; choose a divisor or tail short-last-group"));
  }
  return absl::OkStatus();
}

absl::Status CheckRotation(const Spec& spec, const std::string& name, int64_t m, int64_t n) {
  absl::Status status;
  if (spec.transform.rotation != RotationKind::kNone) {
    status = RotationBlock(n, spec.transform.rotation_block, RotationSide::kInput).status();
  }
  if (status.ok() && spec.transform.rotation == RotationKind::kBoth) {
    status = RotationBlock(m, 0, RotationSide::kOutput).status();
  }
  if (status.ok()) return status;
  return Invalid(absl::StrCat("tensor '", name, "': ", status.message()));
}

absl::Status CheckWeight(const Spec& asked, const TensorDecl& t, const Layout& layout) {
  const int64_t m = t.shape[0], n = t.shape[1];
  const std::vector<Spec> candidates = CandidatesOf(asked, m, n);
  if (candidates.empty()) {
    return Invalid(absl::StrCat("tensor '", t.name, "': group_size ", asked.partition.group_size,
                                " divides neither its ", m, " rows nor its ", n,
                                " columns; choose a divisor or tail short-last-group"));
  }
  for (const Spec& spec : candidates) {
    QUANTD_RETURN_IF_ERROR(CheckShape(spec, t.name, m, n));
    QUANTD_RETURN_IF_ERROR(CheckAdditiveStart(spec, t.name, m, n));
    const absl::Status accepts = layout.Accepts(spec, m, n);
    if (!accepts.ok()) {
      return absl::Status(accepts.code(),
                          absl::StrCat("tensor '", t.name, "': ", accepts.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status WrongShape(const TensorDecl& t, const std::string& wanted) {
  return Invalid(
      absl::StrCat("tensor '", t.name, "': shape ", ShapeString(t.shape), " is not ", wanted));
}

absl::Status CheckStatistics(const TensorDecl& t, int64_t n) {
  const bool square = t.shape.size() == 2 && t.shape[0] == n && t.shape[1] == n;
  const bool triangle = t.shape.size() == 1 && t.shape[0] == n * (n + 1) / 2;
  const bool vector = t.shape.size() == 1 && t.shape[0] == n;
  switch (t.role) {
    case Role::kHessian:
      if (square || triangle) return absl::OkStatus();
      return WrongShape(t, absl::StrCat("[", n, ", ", n, "] nor the triangle [", n * (n + 1) / 2,
                                        "] of weights with ", n, " columns"));
    case Role::kActivations:
      if (t.shape.size() == 2 && t.shape[1] == n && t.shape[0] >= 1) return absl::OkStatus();
      return WrongShape(t, absl::StrCat("[T, ", n, "] with T at least 1"));
    case Role::kCrossMoment:
      if (square) return absl::OkStatus();
      return WrongShape(t, absl::StrCat("[", n, ", ", n, "]"));
    case Role::kTokenWeight:
      if (t.shape.size() == 1 && t.shape[0] >= 1) return absl::OkStatus();
      return WrongShape(t, "[T] with T at least 1");
    default:
      if (vector) return absl::OkStatus();
      return WrongShape(t, absl::StrCat("[", n, "]"));
  }
}

// Where a statistic that a request has once is noted; null for the other roles.
int* SlotOf(Role role, QuantizeShape* shape) {
  switch (role) {
    case Role::kHessian:
    case Role::kActivations:
      return &shape->statistics;
    case Role::kTokenWeight:
      return &shape->token_weight;
    case Role::kChannelAbsMean:
      return &shape->abs_mean;
    case Role::kChannelAbsMax:
      return &shape->abs_max;
    case Role::kCrossMoment:
      return &shape->cross_moment;
    case Role::kRotationSigns:
      return &shape->rotation_signs;
    case Role::kCheckpoint:
      return &shape->checkpoint;
    default:
      return nullptr;
  }
}

// Where a tensor that each weight may have one of is noted; null for the other roles.
std::vector<int>* SlotsOf(Role role, QuantizeShape* shape) {
  switch (role) {
    case Role::kFisher:
      return &shape->fisher;
    case Role::kGradient:
      return &shape->gradient;
    case Role::kCodebooks:
      return &shape->codebooks;
    case Role::kScales:
      return &shape->scales;
    case Role::kCodes:
      return &shape->codes;
    default:
      return nullptr;
  }
}

absl::Status CheckDType(const TensorDecl& t) {
  if (t.role == Role::kCheckpoint) return CheckCheckpoint(t);
  if (t.role == Role::kCodes) {
    for (const DType dtype : {DType::kI8, DType::kU8, DType::kI16, DType::kU16, DType::kI32}) {
      if (t.dtype == dtype) return absl::OkStatus();
    }
    return Invalid(absl::StrCat("tensor '", t.name, "': dtype ", DTypeName(t.dtype),
                                " is not I8, U8, I16, U16 or I32"));
  }
  if (IsRealDType(t.dtype)) return absl::OkStatus();
  return Invalid(absl::StrCat("tensor '", t.name, "': dtype ", DTypeName(t.dtype),
                              " is not F32, F16 or BF16"));
}

// What a request declares: its tensors, and the specs that they are for.
struct Declared {
  const std::vector<TensorDecl>& tensors;
  absl::Span<const Spec> specs;
};

absl::Status NoteStatistic(const Declared& job, int index, QuantizeShape* shape) {
  const TensorDecl& t = job.tensors[index];
  int* slot = SlotOf(t.role, shape);
  const bool of_weight = SlotsOf(t.role, shape) != nullptr;
  const bool used = std::any_of(job.specs.begin(), job.specs.end(),
                                [&t](const Spec& spec) { return UsesRole(spec, t.role); });
  if ((slot == nullptr && !of_weight) || !used) {
    return Invalid(absl::StrCat("tensor '", t.name, "': role ", RoleName(t.role),
                                " is of no use to ",
                                job.specs.size() > 1 ? "any candidate" : "method ",
                                job.specs.size() > 1 ? "" : job.specs.front().method));
  }
  if (slot == nullptr) return absl::OkStatus();  // matched once all weights are known
  if (*slot >= 0) {
    return Invalid(
        absl::StrCat("tensor '", t.name, "': one ",
                     slot == &shape->statistics ? "HESSIAN or ACTIVATIONS" : RoleName(t.role),
                     " a request, '", job.tensors[*slot].name, "' came first"));
  }
  *slot = index;
  return absl::OkStatus();
}

absl::Status NoteWeight(const TensorDecl& t, int index, std::set<std::string>* modules,
                        QuantizeShape* shape) {
  if (!modules->insert(ModuleName(t.name)).second) {
    return Invalid(absl::StrCat("tensor '", t.name, "': another weight is of module '",
                                ModuleName(t.name), "', too; packed tensors would share names"));
  }
  if (t.shape.size() != 2 || t.shape[0] < 1 || t.shape[1] < 1) {
    return Invalid(absl::StrCat("tensor '", t.name, "': a weight has shape [m, n], got ",
                                ShapeString(t.shape)));
  }
  if (shape->weights.empty()) shape->n = t.shape[1];
  if (t.shape[1] != shape->n) {
    return Invalid(absl::StrCat("tensor '", t.name, "': has ", t.shape[1],
                                " columns, the first weight of the request has ", shape->n));
  }
  shape->weights.push_back(index);
  return absl::OkStatus();
}

// Finds the weight that a FISHER, GRADIENT, CODEBOOKS ... belongs to.
absl::Status MatchToWeight(const Declared& job, int index, QuantizeShape* shape) {
  const TensorDecl& t = job.tensors[index];
  size_t w = 0;
  if (!t.of.empty()) {
    while (w < shape->weights.size() && job.tensors[shape->weights[w]].name != t.of) ++w;
    if (w == shape->weights.size()) {
      return Invalid(absl::StrCat("tensor '", t.name, "': of '", t.of, "', which is no WEIGHT"));
    }
  } else if (shape->weights.size() > 1) {
    return Invalid(absl::StrCat("tensor '", t.name, "': says not of which of ",
                                shape->weights.size(), " weights it is"));
  }
  const TensorDecl& weight = job.tensors[shape->weights[w]];
  if (IsGivenCode(t.role)) {
    QUANTD_RETURN_IF_ERROR(CheckGivenShape(job.specs.front(), t, weight));
  } else if (t.shape != weight.shape) {
    return WrongShape(t, absl::StrCat(ShapeString(weight.shape), " of '", weight.name, "'"));
  }
  int& slot = (*SlotsOf(t.role, shape))[w];
  if (slot >= 0) {
    return Invalid(absl::StrCat("tensor '", t.name, "': '", weight.name, "' has a ",
                                RoleName(t.role), " already"));
  }
  slot = index;
  return absl::OkStatus();
}

bool HasActivations(const std::vector<TensorDecl>& tensors, const QuantizeShape& shape) {
  return shape.statistics >= 0 && tensors[shape.statistics].role == Role::kActivations;
}

absl::Status CheckTokenWeight(const Declared& job, const QuantizeShape& shape) {
  if (shape.token_weight >= 0 && !HasActivations(job.tensors, shape)) {
    return Invalid(absl::StrCat("tensor '", job.tensors[shape.token_weight].name,
                                "': TOKEN_WEIGHT weighs ACTIVATIONS, and there are none"));
  }
  if (shape.token_weight >= 0 &&
      job.tensors[shape.token_weight].shape[0] != job.tensors[shape.statistics].shape[0]) {
    return WrongShape(
        job.tensors[shape.token_weight],
        absl::StrCat("[", job.tensors[shape.statistics].shape[0], "], one for each row of '",
                     job.tensors[shape.statistics].name, "'"));
  }
  return absl::OkStatus();
}

absl::Status CheckRequired(const Spec& spec, const std::vector<TensorDecl>& tensors,
                           const QuantizeShape& shape) {
  const bool activations = HasActivations(tensors, shape);
  const auto missing = [&](absl::string_view what, size_t w) {
    return absl::FailedPreconditionError(
        absl::StrCat("method ", spec.method, " needs a ", what, " tensor for '",
                     tensors[shape.weights[w]].name, "'; none is declared"));
  };
  for (const Role role : RequiredRoles(spec)) {
    if (role == Role::kHessian && shape.statistics < 0) return missing("HESSIAN or ACTIVATIONS", 0);
    if (role == Role::kChannelAbsMax && shape.abs_max < 0 && !activations) {
      return missing("CHANNEL_ABS_MAX (or ACTIVATIONS)", 0);
    }
    if (role == Role::kCrossMoment && shape.cross_moment < 0) return missing("CROSS_MOMENT", 0);
    for (size_t w = 0; w < shape.weights.size(); ++w) {
      if (role == Role::kFisher && shape.fisher[w] < 0) return missing("FISHER", w);
      if (role == Role::kGradient && shape.gradient[w] < 0) return missing("GRADIENT", w);
      if (role == Role::kCodebooks && shape.codebooks[w] < 0) return missing("CODEBOOKS", w);
      if (role == Role::kScales && shape.scales[w] < 0) return missing("SCALES", w);
    }
  }
  return absl::OkStatus();
}

// Roles and shapes of weights and single statistics.
absl::StatusOr<QuantizeShape> FindTensors(const Declared& job) {
  QuantizeShape shape;
  std::set<std::string> modules;
  for (int i = 0; i < static_cast<int>(job.tensors.size()); ++i) {
    const TensorDecl& t = job.tensors[i];
    QUANTD_RETURN_IF_ERROR(CheckDType(t));
    QUANTD_RETURN_IF_ERROR(t.role == Role::kWeight ? NoteWeight(t, i, &modules, &shape)
                                                   : NoteStatistic(job, i, &shape));
  }
  if (shape.weights.empty()) return Invalid("tensors: no WEIGHT declared");
  for (std::vector<int>* slots :
       {&shape.fisher, &shape.gradient, &shape.codebooks, &shape.scales, &shape.codes}) {
    slots->assign(shape.weights.size(), -1);
  }
  shape.channels = std::any_of(job.specs.begin(), job.specs.end(), [](const Spec& spec) {
    return spec.transform.scaling != ScalingKind::kNone;
  });
  return shape;
}

// What belongs to single weights, and the shapes of what all of them share.
absl::Status MatchTensors(const Declared& job, QuantizeShape* shape) {
  for (int i = 0; i < static_cast<int>(job.tensors.size()); ++i) {
    const Role role = job.tensors[i].role;
    if (SlotsOf(role, shape) != nullptr) {
      QUANTD_RETURN_IF_ERROR(MatchToWeight(job, i, shape));
    } else if (role != Role::kWeight && role != Role::kCheckpoint) {
      QUANTD_RETURN_IF_ERROR(CheckStatistics(job.tensors[i], shape->n));
    }
  }
  return CheckTokenWeight(job, *shape);
}

std::vector<PreparationSet> PreparationSets(const std::vector<Spec>& candidates, int64_t n) {
  std::vector<PreparationSet> sets;
  for (int c = 0; c < static_cast<int>(candidates.size()); ++c) {
    auto set = std::find_if(sets.begin(), sets.end(), [&](const PreparationSet& s) {
      return GroupSolver::Serves(candidates[s.front()], candidates[c], n);
    });
    if (set == sets.end()) {
      sets.push_back({c});
    } else {
      set->push_back(c);
    }
  }
  return sets;
}

}  // namespace

absl::Status CheckShape(const Spec& spec, const std::string& name, int64_t m, int64_t n) {
  QUANTD_RETURN_IF_ERROR(CheckTail(spec, name, m, n));
  QUANTD_RETURN_IF_ERROR(CheckPatches(spec, name, m, n));
  return CheckRotation(spec, name, m, n);
}

absl::Status CheckDeclarations(const std::string& id, const std::vector<TensorDecl>& tensors,
                               const JobLimits& limits) {
  if (id.empty() || id.size() > kMaxIdBytes) {
    return Invalid(absl::StrCat("job_id: ", id.size(), " bytes are not 1..", kMaxIdBytes));
  }
  for (unsigned char c : id) {
    if (!absl::ascii_isprint(c)) return Invalid("job_id: has a byte that is not printable ASCII");
  }
  if (tensors.empty()) return Invalid("tensors: none declared");
  if (static_cast<int>(tensors.size()) > limits.max_tensors) {
    return Invalid(
        absl::StrCat("tensors: ", tensors.size(), " are above the limit of ", limits.max_tensors));
  }
  std::set<std::string> names;
  uint64_t total = 0;
  for (const TensorDecl& t : tensors) {
    if (t.name.empty()) return Invalid("tensors: a name is empty");
    if (!names.insert(t.name).second) {
      return Invalid(absl::StrCat("tensor '", t.name, "': declared twice"));
    }
    for (int64_t d : t.shape) {
      if (d > limits.max_dimension &&
          // a triangle and a state are long by nature
          !(t.shape.size() == 1 && (t.role == Role::kHessian || t.role == Role::kCheckpoint))) {
        return absl::OutOfRangeError(absl::StrCat("tensor '", t.name, "': shape ",
                                                  ShapeString(t.shape), " passes the limit of ",
                                                  limits.max_dimension, " a dimension"));
      }
    }
    QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes, CheckedBytes(t.shape, t.dtype, t.name));
    if (bytes > limits.max_upload_bytes - total) {
      return absl::OutOfRangeError(absl::StrCat("tensor '", t.name,
                                                "': the upload passes the limit of ",
                                                limits.max_upload_bytes, " bytes"));
    }
    total += bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<QuantizeShape> CheckQuantize(const QuantizeJob& job, const Layout& layout,
                                            const JobLimits& limits) {
  QUANTD_RETURN_IF_ERROR(CheckDeclarations(job.id, job.tensors, limits));
  QUANTD_RETURN_IF_ERROR(CheckSpec(job.spec));
  if (job.checkpoint_seconds < 0) {
    return Invalid(absl::StrCat("checkpoint_seconds: ", job.checkpoint_seconds, " is below 0"));
  }
  const Declared declared = {job.tensors, {&job.spec, 1}};
  QUANTD_ASSIGN_OR_RETURN(QuantizeShape shape, FindTensors(declared));
  for (int i : shape.weights) QUANTD_RETURN_IF_ERROR(CheckWeight(job.spec, job.tensors[i], layout));
  QUANTD_RETURN_IF_ERROR(MatchTensors(declared, &shape));
  QUANTD_RETURN_IF_ERROR(CheckRequired(job.spec, job.tensors, shape));
  return shape;
}

absl::StatusOr<MeasureShape> CheckMeasure(const MeasureJob& job, const Layout& layout,
                                          const JobLimits& limits) {
  QUANTD_RETURN_IF_ERROR(CheckDeclarations(job.id, job.tensors, limits));
  if (job.candidates.empty() || static_cast<int>(job.candidates.size()) > limits.max_candidates) {
    return Invalid(
        absl::StrCat("candidates: ", job.candidates.size(), " are not 1..", limits.max_candidates));
  }
  const auto of_candidate = [](size_t c, const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat("candidates[", c, "]: ", status.message()));
  };
  for (size_t c = 0; c < job.candidates.size(); ++c) {
    absl::Status status = CheckSpec(job.candidates[c]);
    if (status.ok() && job.candidates[c].fit.kind == FitKind::kGiven) {
      status = Invalid("spec.fit.kind: given codebooks belong to one spec, and are not measured");
    }
    if (!status.ok()) return of_candidate(c, status);
  }
  const Declared declared = {job.tensors, job.candidates};
  MeasureShape shape;
  QUANTD_ASSIGN_OR_RETURN(shape.tensors, FindTensors(declared));
  if (shape.tensors.checkpoint >= 0) {
    return Invalid(absl::StrCat("tensor '", job.tensors[shape.tensors.checkpoint].name,
                                "': Measure goes on from no state"));
  }
  QUANTD_RETURN_IF_ERROR(MatchTensors(declared, &shape.tensors));
  shape.sets = PreparationSets(job.candidates, shape.tensors.n);
  for (size_t c = 0; c < job.candidates.size(); ++c) {
    const absl::Status status = CheckRequired(job.candidates[c], job.tensors, shape.tensors);
    if (!status.ok()) return of_candidate(c, status);
    std::vector<std::string>& unfit = shape.unfit.emplace_back();
    for (const int i : shape.tensors.weights) {
      unfit.emplace_back(CheckWeight(job.candidates[c], job.tensors[i], layout).message());
    }
  }
  return shape;
}

}  // namespace quantd
