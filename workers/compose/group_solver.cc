#include "workers/compose/group_solver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "workers/compose/group_state.h"
#include "workers/compose/whole_weight.h"
#include "workers/core/spec_fields.h"
#include "workers/core/status_macros.h"
#include "workers/exceptions/column_choice.h"
#include "workers/fit/storage.h"
#include "workers/linalg/convert.h"
#include "workers/solve/rtn.h"
#include "workers/transform/scaling.h"

namespace quantd {
namespace {

// Rows whose drift is taken at a time: its arrays stay small.
constexpr int64_t kDriftRows = 64;

std::vector<WeightView> ViewsOf(const GroupInputs& inputs) {
  std::vector<WeightView> views;
  views.reserve(inputs.weights.size());
  for (const WeightInputs& w : inputs.weights) views.push_back(w.weight);
  return views;
}

// Puts a prepared group together, step by step; each step changes what the next one sees.
class Preparation {
 public:
  Preparation(GroupSolver::State* state, Executor& executor, const CancelToken& cancel)
      : s_(*state), spec_(state->spec), executor_(executor), cancel_(cancel) {}

  absl::Status Run() {
    if (s_.inputs->cross_moment != nullptr) cross_ = std::move(*s_.inputs->cross_moment);
    QUANTD_RETURN_IF_ERROR(Correct());
    QUANTD_RETURN_IF_ERROR(Scale());
    QUANTD_RETURN_IF_ERROR(Rotate());
    if (spec_.fit.kind == FitKind::kClipSearch) {
      s_.hessian->Blocks(spec_.partition.GroupColumns(s_.inputs->n), &s_.hessian_blocks);
    }
    QUANTD_RETURN_IF_ERROR(ShareTensorScale());
    QUANTD_RETURN_IF_ERROR(KeepColumns());
    if (spec_.solve.solver == Solver::kGptq) QUANTD_RETURN_IF_ERROR(FactorHessian());
    if (spec_.solve.solver == Solver::kBeam) ChooseMetric();
    return FeedBackCrossMoment();
  }

 private:
  absl::Status Correct() {
    if (spec_.transform.correction == CorrectionKind::kNone) return absl::OkStatus();
    QUANTD_ASSIGN_OR_RETURN(
        s_.correction,
        Correction::Create(s_.hessian, std::move(cross_), spec_.transform.correction_alpha,
                           spec_.transform.correction_damping, "CROSS_MOMENT", executor_, cancel_));
    s_.correction_lambda = s_.correction->damping() * s_.hessian->mean_diagonal();
    return absl::OkStatus();
  }

  absl::Status Scale() {
    if (spec_.transform.scaling == ScalingKind::kNone) return absl::OkStatus();
    const std::vector<WeightView> views = ViewsOf(*s_.inputs);
    if (spec_.transform.scaling == ScalingKind::kSmooth) {
      QUANTD_ASSIGN_OR_RETURN(
          s_.column_scale, SmoothScales(s_.inputs->abs_max, views, spec_.transform.scaling_alpha));
    } else {
      const RoundStripe round = [this](const float* w, Coded* io) {
        RtnScratch scratch;
        Spec plain = spec_;
        plain.exceptions = Exceptions();
        RoundRows(plain, w, {}, io, &scratch);
      };
      QUANTD_ASSIGN_OR_RETURN(AwqResult awq,
                              SearchAwqScales(spec_, s_.inputs->abs_mean, views, *s_.hessian, round,
                                              executor_, cancel_));
      s_.notes.push_back(absl::StrCat("column scales: alpha ", awq.alpha, " over ", views.size(),
                                      views.size() == 1 ? " weight" : " weights"));
      s_.column_scale = std::move(awq.scale);
    }
    if (s_.hessian != nullptr) {
      QUANTD_RETURN_IF_ERROR(ScaleHessian(s_.hessian, s_.column_scale, executor_, cancel_));
    }
    if (cross_.size() == 0) return absl::OkStatus();
    return ScaleCross(cross_.As<float>().data(), s_.column_scale, executor_, cancel_);
  }

  absl::Status Rotate() {
    if (spec_.transform.rotation == RotationKind::kNone) return absl::OkStatus();
    const Transform& t = spec_.transform;
    const std::vector<int8_t>& given = s_.inputs->rotation_signs;
    if (given.empty()) {
      QUANTD_ASSIGN_OR_RETURN(s_.rotation, MakeRotation(s_.inputs->n, t.rotation_block,
                                                        t.rotation_seed, RotationSide::kInput));
    } else {
      QUANTD_ASSIGN_OR_RETURN(s_.rotation, GivenRotation(given, t.rotation_block,
                                                         RotationSide::kInput, "ROTATION_SIGNS"));
    }
    if (s_.hessian != nullptr) {
      QUANTD_RETURN_IF_ERROR(RotateHessian(s_.hessian, *s_.rotation, executor_, cancel_));
    }
    if (cross_.size() == 0) return absl::OkStatus();
    return RotateCross(cross_.As<float>().data(), *s_.rotation, executor_, cancel_);
  }

  absl::Status ShareTensorScale() {
    if (spec_.storage.kind != StorageKind::kE4M3) return absl::OkStatus();
    TensorStorage storage(spec_);
    for (const WeightInputs& w : s_.inputs->weights) {
      QUANTD_RETURN_IF_ERROR(LookAtWhole(s_, spec_, w.weight, &storage, executor_, cancel_));
    }
    s_.tensor_scale = storage.tensor_scale();
    return absl::OkStatus();
  }

  // Weights of a group share the sweep's order, so they share the columns that end it.
  absl::Status KeepColumns() {
    if (spec_.exceptions.kept_columns <= 0) return absl::OkStatus();
    std::vector<double> errors(s_.inputs->n, 0.0);
    for (const WeightInputs& w : s_.inputs->weights) {
      QUANTD_RETURN_IF_ERROR(AddRoundingErrors(s_, spec_, w.weight, &errors, executor_, cancel_));
    }
    s_.kept_columns =
        ChooseKeptColumns(s_.hessian->diagonal(), errors, spec_.exceptions.kept_columns);
    s_.notes.push_back(
        absl::StrCat(s_.kept_columns.size(), " of ", s_.inputs->n, " columns kept F16"));
    return absl::OkStatus();
  }

  void ChooseMetric() {
    if (s_.hessian != nullptr) {
      s_.metric = Metric::Of(s_.hessian, executor_);
    } else {
      s_.metric = Metric::Identity(s_.inputs->n);
      s_.notes.push_back("no statistics: errors of all weights count alike (H = I)");
    }
  }

  absl::Status FactorHessian() {
    const int64_t group = spec_.partition.GroupColumns(s_.inputs->n);
    absl::StatusOr<Factor> factor = Factor::Create(
        s_.hessian,
        KeptColumnsLast(SweepOrder(spec_.solve.order, group, *s_.hessian), s_.kept_columns),
        spec_.solve.damping, SweepForm(spec_), executor_, cancel_);
    if (factor.ok()) {
      s_.factor = *std::move(factor);
      return absl::OkStatus();
    }
    if (factor.status().code() != absl::StatusCode::kFailedPrecondition ||
        spec_.solve.fallback_descent_passes == 0) {
      return factor.status();
    }
    s_.no_factor = std::string(factor.status().message());
    return absl::OkStatus();
  }

  absl::Status FeedBackCrossMoment() {
    if (spec_.solve.asymmetric <= 0 || !s_.factor.has_value()) return absl::OkStatus();
    QUANTD_ASSIGN_OR_RETURN(
        s_.asymmetric, Asymmetric::Create(*s_.factor, std::move(cross_), spec_.solve.asymmetric,
                                          "CROSS_MOMENT", executor_, cancel_));
    return absl::OkStatus();
  }

  GroupSolver::State& s_;
  const Spec& spec_;
  Executor& executor_;
  const CancelToken& cancel_;
  Buffer cross_;
};

// a [rows, n] in the coded basis -> energy through the factor or through H itself.
double EnergyOf(const GroupSolver::State& s, const float* a, int64_t rows, SolveScratch* scratch,
                const CancelToken& cancel) {
  const int64_t n = s.inputs->n;
  scratch->transposed.resize(n * rows);
  TransposeF32(a, rows, n, n, scratch->transposed.data(), rows);
  if (!s.factor.has_value()) {
    return EnergyWithoutFactor(*s.hessian, scratch->transposed.data(), rows, &scratch->energy,
                               cancel);
  }
  scratch->permuted.resize(n * rows);
  for (int64_t p = 0; p < n; ++p) {
    std::copy_n(scratch->transposed.data() + s.factor->column_at()[p] * rows, rows,
                scratch->permuted.data() + p * rows);
  }
  return s.factor->Energy(scratch->permuted.data(), rows, &scratch->energy, cancel);
}

// a in the coded basis: itself where the bases are one.
const float* InCodedBasis(const GroupSolver::State& s, const float* a, int64_t rows,
                          SolveScratch* scratch) {
  if (!s.changes_basis()) return a;
  scratch->basis.assign(a, a + rows * s.inputs->n);
  s.EnterError(scratch->basis.data(), rows);
  return scratch->basis.data();
}

}  // namespace

void GroupSolver::State::EnterError(float* w, int64_t rows) const {
  const int64_t n = inputs->n;
  if (!column_scale.empty()) ScaleRows(w, rows, n, column_scale);
  if (rotation.has_value()) RotateRows(*rotation, w, rows, n);
}

void GroupSolver::State::Enter(float* w, int64_t rows, std::vector<float>* scratch) const {
  if (correction.has_value()) correction->Apply(w, rows, scratch);
  EnterError(w, rows);
}

absl::StatusOr<std::optional<Rotation>> OutputRotation(const Spec& spec, int64_t m) {
  if (spec.transform.rotation != RotationKind::kBoth) return std::optional<Rotation>();
  QUANTD_ASSIGN_OR_RETURN(Rotation rotation,
                          MakeRotation(m, 0, spec.transform.rotation_seed, RotationSide::kOutput));
  return std::optional<Rotation>(std::move(rotation));
}

GroupSolver::GroupSolver(std::unique_ptr<State> state) : state_(std::move(state)) {}
GroupSolver::~GroupSolver() = default;

absl::StatusOr<std::unique_ptr<GroupSolver>> GroupSolver::Prepare(const Spec& spec,
                                                                  GroupInputs* inputs,
                                                                  Executor& executor,
                                                                  const CancelToken& cancel) {
  auto state = std::make_unique<State>();
  state->spec = spec;
  state->inputs = inputs;
  state->hessian = inputs->hessian;
  QUANTD_RETURN_IF_ERROR(Preparation(state.get(), executor, cancel).Run());
  return std::unique_ptr<GroupSolver>(new GroupSolver(std::move(state)));
}

bool GroupSolver::Serves(const Spec& prepared, const Spec& spec, int64_t n) {
  for (const SpecField& field : SpecFields()) {
    const bool shared =
        absl::StartsWith(field.path, "solve.") || absl::StartsWith(field.path, "transform.");
    if (shared && field.get(prepared) != field.get(spec)) return false;
  }
  // What looks at the weights of the group: column scales, kept columns, tensor scales.
  const auto looks_at_weights = [](const Spec& s) {
    return s.transform.scaling != ScalingKind::kNone || s.exceptions.kept_columns > 0 ||
           s.storage.kind == StorageKind::kE4M3;
  };
  if (looks_at_weights(prepared) || looks_at_weights(spec)) return false;
  const bool clips = prepared.fit.kind == FitKind::kClipSearch;
  if (clips != (spec.fit.kind == FitKind::kClipSearch)) return false;
  const bool by_group = clips || prepared.solve.order == Order::kGroupAware;
  if (by_group && prepared.partition.GroupColumns(n) != spec.partition.GroupColumns(n)) {
    return false;
  }
  return SweepForm(prepared) == SweepForm(spec);
}

bool GroupSolver::KeepsInputs(const Spec& spec) {
  return !spec.transform.any() && spec.solve.asymmetric <= 0;
}

bool GroupSolver::has_energy() const { return state_->hessian != nullptr; }

double GroupSolver::Energy(const float* a, int64_t rows, SolveScratch* scratch,
                           const CancelToken& cancel) const {
  return EnergyOf(*state_, InCodedBasis(*state_, a, rows, scratch), rows, scratch, cancel);
}

double GroupSolver::ErrorEnergy(const RowFacts& facts, const float* a, int64_t rows,
                                SolveScratch* scratch, const CancelToken& cancel) const {
  if (!facts.loss.has_value()) return Energy(a, rows, scratch, cancel);
  return state_->factor->Undamp(*facts.loss, InCodedBasis(*state_, a, rows, scratch), rows);
}

bool GroupSolver::has_drift() const {
  return state_->correction.has_value() && state_->spec.transform.correction_alpha > 0;
}

double GroupSolver::Drift(const float* w, const float* error, int64_t rows, SolveScratch* scratch,
                          const CancelToken& cancel) const {
  const int64_t n = state_->inputs->n;
  double sum = 0;
  for (int64_t row = 0; row < rows; row += kDriftRows) {
    sum += DriftOf(w + row * n, error + row * n, std::min(kDriftRows, rows - row), scratch, cancel);
  }
  return sum;
}

double GroupSolver::DriftOf(const float* w, const float* error, int64_t rows, SolveScratch* scratch,
                            const CancelToken& cancel) const {
  // tr(D H D^T) + 2 tr(W (C - H) D^T). C is used up, but W M = alpha W (C - H) (H + lambda I)^-1
  // is at hand, and tr(A H D^T) is a difference of two energies.
  const int64_t count = rows * state_->inputs->n;
  std::vector<float>& a = scratch->coded_basis;
  std::vector<float>& sum = scratch->drift;
  a.assign(w, w + count);
  state_->correction->Apply(a.data(), rows, &scratch->product);
  sum.resize(count);
  double dot = 0;
  for (int64_t i = 0; i < count; ++i) {
    a[i] -= w[i];
    dot += static_cast<double>(a[i]) * error[i];
    sum[i] = a[i] + error[i];
  }
  const double plus = Energy(sum.data(), rows, scratch, cancel);
  for (int64_t i = 0; i < count; ++i) sum[i] = a[i] - error[i];
  const double minus = Energy(sum.data(), rows, scratch, cancel);
  const double cross = (plus - minus) / 4 + state_->correction_lambda * dot;
  return Energy(error, rows, scratch, cancel) + 2 * cross / state_->spec.transform.correction_alpha;
}

std::optional<SolverFacts> GroupSolver::facts() const {
  const State& s = *state_;
  if (s.spec.solve.solver != Solver::kGptq) return std::nullopt;
  SolverFacts f;
  f.dead_columns = s.hessian->dead_columns();
  if (s.factor.has_value()) {
    f.damping_fraction = s.factor->damping_fraction();
    f.damping_retries = s.factor->retries();
  } else {
    f.damping_retries = LadderRetries(s.spec.solve.damping);
    f.used_descent = true;
  }
  return f;
}

OutcomeReason GroupSolver::degraded() const {
  const State& s = *state_;
  if (s.spec.solve.solver != Solver::kGptq) return {};
  if (!s.factor.has_value()) {
    return {OutcomeCause::kNoFactor,
            absl::StrCat(s.no_factor, "; ", s.spec.solve.fallback_descent_passes,
                         " passes of coordinate descent from round to nearest instead")};
  }
  if (s.hessian->dead_columns() == s.hessian->n()) {
    return {OutcomeCause::kNoSignal,
            "no calibration signal: every column of H is zero, so all were rounded to nearest"};
  }
  if (s.factor->retries() == 0) return {};
  return {OutcomeCause::kDamping,
          absl::StrCat("H is not positive definite at damping ", s.spec.solve.damping.fraction,
                       "; factored at ", s.factor->damping_fraction(), " after ",
                       s.factor->retries(), s.factor->retries() == 1 ? " retry" : " retries")};
}

std::vector<std::string> GroupSolver::notes() const { return state_->notes; }

}  // namespace quantd
