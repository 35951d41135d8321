#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/compose/group_solver.h"
#include "workers/compose/group_state.h"
#include "workers/compose/row_order.h"
#include "workers/compose/whole_weight.h"
#include "workers/core/status_macros.h"
#include "workers/exceptions/column_choice.h"
#include "workers/exceptions/outlier_choice.h"
#include "workers/fit/fit.h"
#include "workers/solve/additive.h"

namespace quantd {

struct WeightSolver::State {
  Spec spec;
  const GroupSolver::State* group = nullptr;
  const WeightInputs* inputs = nullptr;
  CodedShared shared;
  std::optional<Rotation> output;
  OutlierChoice outliers;
  double threshold = 0;
  std::optional<GroupFit> tensor_fit;  // Granularity::kTensor, scaled levels
  AdditiveCode additive;               // additive levels; its books are moved to `shared`

  bool sweeps() const { return spec.solve.solver == Solver::kGptq && group->factor.has_value(); }
  // Parameters are found while the sweep goes on.
  bool fits_on_the_way() const {
    return sweeps() && (spec.partition.per_ic() || spec.solve.timing == GroupTiming::kDynamic);
  }
};

namespace {

// H cannot be factored: descent freezes parameters, so groups are static then.
Spec WithoutFactor(Spec spec) {
  spec.solve.timing = GroupTiming::kStatic;
  return spec;
}

}  // namespace

WeightSolver::WeightSolver(std::unique_ptr<State> state) : state_(std::move(state)) {}
WeightSolver::~WeightSolver() = default;

const Spec& WeightSolver::spec() const { return state_->spec; }
const CodedShared& WeightSolver::shared() const { return state_->shared; }

absl::StatusOr<std::unique_ptr<WeightSolver>> GroupSolver::BeginWeight(const Spec& spec, int weight,
                                                                       int64_t stripe_rows,
                                                                       Executor& executor,
                                                                       const CancelToken& cancel,
                                                                       SolveWatch* watch) const {
  auto s = std::make_unique<WeightSolver::State>();
  const State& group = *state_;
  s->spec =
      spec.solve.solver == Solver::kGptq && !group.factor.has_value() ? WithoutFactor(spec) : spec;
  s->group = &group;
  s->inputs = &group.inputs->weights[weight];
  const WeightView& view = s->inputs->weight;
  CodedShared& shared = s->shared;
  if (spec.levels.additive()) {
    QUANTD_ASSIGN_OR_RETURN(s->additive, SolveAdditive({.spec = &s->spec,
                                                        .weight = view,
                                                        .metric = &*group.metric,
                                                        .given = s->inputs->given,
                                                        .state = s->inputs->state},
                                                       executor, cancel, watch));
    shared.codebooks = std::move(s->additive.books);
    return std::unique_ptr<WeightSolver>(new WeightSolver(std::move(s)));
  }

  const bool transformed = spec.transform.any();
  if (transformed) shared.column_scale = group.column_scale;
  if (transformed && group.rotation.has_value()) shared.input_signs = group.rotation->signs;
  QUANTD_ASSIGN_OR_RETURN(s->output, OutputRotation(spec, view.m));
  if (s->output.has_value()) shared.output_signs = s->output->signs;
  if (s->sweeps() && spec.solve.timing == GroupTiming::kDynamic) {
    shared.group_of_column = DynamicGroups(*group.factor, spec);
  }
  if (spec.exceptions.kept_columns > 0) shared.kept_columns = group.kept_columns;
  if (spec.allocation.kind == AllocationKind::kColumnScore) {
    QUANTD_ASSIGN_OR_RETURN(const std::vector<ColumnScore> scores,
                            ColumnScores(view, executor, cancel));
    shared.column_bits = ChooseColumnBits(spec.allocation, spec.levels.bits, scores);
  }
  if (spec.storage.kind == StorageKind::kE4M3 &&
      spec.transform.any() == group.spec.transform.any()) {
    shared.tensor_scale = group.tensor_scale;
  } else if (TensorStorage::Needed(spec)) {
    TensorStorage storage(spec);
    QUANTD_RETURN_IF_ERROR(LookAtWhole(group, spec, view, &storage, executor, cancel));
    if (spec.storage.kind == StorageKind::kE4M3) {
      shared.tensor_scale = storage.tensor_scale();
    } else {
      shared.scale_offset = storage.scale_offset();
    }
  }
  if (spec.partition.granularity == Granularity::kTensor) {
    if (spec.levels.kind == LevelKind::kLearnedTable) {
      QUANTD_ASSIGN_OR_RETURN(shared.table, TableOfWhole(group, spec, view, s->inputs->fisher,
                                                         stripe_rows, executor, cancel));
    } else {
      QUANTD_ASSIGN_OR_RETURN(s->tensor_fit,
                              FitWhole(group, spec, view, stripe_rows, executor, cancel));
    }
  }
  if (spec.exceptions.outliers == OutlierKind::kThreshold) {
    if (group.factor.has_value()) {
      // Squared rounding errors grow fourfold with each bit less, and the limit with them.
      const double tau = spec.exceptions.threshold * std::exp2(2 * (4 - spec.levels.bits));
      QUANTD_ASSIGN_OR_RETURN(s->threshold,
                              OutlierThreshold(*group.factor, tau, view, executor, cancel));
    }
  } else if (spec.exceptions.stores_outliers()) {
    const bool by_gradient = spec.exceptions.outliers == OutlierKind::kGradient;
    const WeightView& importance = by_gradient ? s->inputs->gradient : s->inputs->fisher;
    QUANTD_ASSIGN_OR_RETURN(
        s->outliers, OutlierChoice::Create(spec.exceptions, view,
                                           importance.bytes == nullptr ? nullptr : &importance,
                                           executor, cancel));
  }
  return std::unique_ptr<WeightSolver>(new WeightSolver(std::move(s)));
}

namespace {

// One stripe under way.
class Stripe {
 public:
  Stripe(const WeightSolver::State& state, const float* w, Coded* io, SolveScratch* scratch,
         Executor& executor, const CancelToken& cancel)
      : s_(state), w_(w), io_(io), scratch_(scratch), executor_(executor), cancel_(cancel) {}

  RowFacts Solve() {
    EnterBasis();
    FillInputs();
    if (!s_.fits_on_the_way()) facts_.fit = Fit();
    if (cancel_.cancelled() || facts_.fit.scale_overflow) return facts_;
    if (s_.sweeps()) {
      Sweep();
    } else {
      RoundRows(s_.spec, w_, inputs_, io_, &scratch_->rtn);
      if (s_.spec.solve.solver == Solver::kGptq) {
        Descend(s_.spec.solve.fallback_descent_passes);
      }
    }
    if (s_.spec.exceptions.stores_outliers() && io_->outliers.begin.empty()) {
      io_->outliers.begin.assign(io_->rows + 1, 0);
    }
    return facts_;
  }

 private:
  void EnterBasis() {
    if (!s_.spec.transform.any()) return;
    std::vector<float>& w = scratch_->coded_basis;
    w.assign(w_, w_ + io_->rows * io_->cols);
    s_.group->Enter(w.data(), io_->rows, &scratch_->product);
    if (s_.output.has_value()) {
      RotateStripe(*s_.output, io_->row_begin, w.data(), io_->rows, io_->cols);
    }
    w_ = w.data();
  }

  void FillInputs() {
    const int64_t rows = io_->rows, n = io_->cols, m = s_.inputs->weight.m;
    inputs_.m = m;
    inputs_.threshold = s_.threshold;
    FitContext& fit = inputs_.fit;
    if (s_.group->hessian != nullptr) fit.diagonal = s_.group->hessian->diagonal().data();
    if (!s_.group->hessian_blocks.empty()) fit.hessian_blocks = s_.group->hessian_blocks.data();
    fit.tensor_scale = s_.shared.tensor_scale;
    fit.scale_offset = s_.shared.scale_offset;
    if (s_.spec.fit.importance == Importance::kFisher && s_.inputs->fisher.bytes != nullptr) {
      scratch_->importance.resize(rows * n);
      s_.inputs->fisher.ReadRows(io_->row_begin, rows, scratch_->importance.data());
      fit.importance = scratch_->importance.data();
    }
    const Exceptions& e = s_.spec.exceptions;
    if (e.stores_outliers() && e.outliers != OutlierKind::kThreshold) {
      s_.outliers.Rows(io_->row_begin, rows, &scratch_->chosen);
      inputs_.chosen = &scratch_->chosen;
    }
    if (inputs_.chosen != nullptr || !s_.shared.kept_columns.empty() || e.recent_rows > 0) {
      const int64_t recent = io_->row_begin + rows - std::max(io_->row_begin, m - e.recent_rows);
      scratch_->skip.resize(rows * n);
      MarkSkipped(inputs_.chosen, s_.shared.kept_columns, std::max<int64_t>(0, recent), rows, n,
                  scratch_->skip.data());
      fit.skip = scratch_->skip.data();
    }
  }

  FitFacts Fit() {
    if (s_.spec.partition.granularity != Granularity::kTensor) {
      return FitRows(s_.spec, w_, inputs_.fit, io_, &cancel_);
    }
    FitFacts facts;
    if (s_.tensor_fit.has_value()) {
      FillParams(*s_.tensor_fit, io_);
      facts.scale_overflow = s_.tensor_fit->overflow;
    }
    return facts;
  }

  void Sweep() {
    const GroupSolver::State& group = *s_.group;
    const std::unique_ptr<Rounder> rounder = MakeRounder(s_.spec, inputs_, io_, &scratch_->rounder);
    SweepOptions options;
    options.block_columns = s_.spec.solve.block_columns;
    if (group.asymmetric.has_value()) options.asymmetric = group.asymmetric->feedback();
    const bool whole = rounder->RowGranule() >= io_->rows && io_->rows == inputs_.m;
    const SweepFacts sweep = whole ? SweepRows(*group.factor, options, w_, rounder.get(), io_,
                                               &scratch_->sweep, cancel_, executor_)
                                   : SweepRows(*group.factor, options, w_, rounder.get(), io_,
                                               &scratch_->sweep, cancel_);
    if (sweep.fit.scale_overflow) facts_.fit = sweep.fit;
    facts_.max_compensated = sweep.max_compensated;
    if (s_.spec.solve.descent_passes > 0) {
      Descend(s_.spec.solve.descent_passes);
    } else if (sweep.loss_valid && !group.correction.has_value()) {
      // A correction moves what is swept, so that its loss is not that of the uploaded weight.
      facts_.loss = sweep.damped_loss;
    }
  }

  void Descend(int passes) {
    DescendRows(*s_.group->hessian, s_.spec, inputs_, w_, passes, io_, &scratch_->descent, cancel_);
  }

  const WeightSolver::State& s_;
  const float* w_;
  Coded* io_;
  SolveScratch* scratch_;
  Executor& executor_;
  const CancelToken& cancel_;
  RounderInputs inputs_;
  RowFacts facts_;
};

// The stripe's part of a code that was found for the whole weight.
void CopyAdditive(const AdditiveCode& code, Coded* io) {
  const int64_t begin = io->row_begin / io->group_rows;
  const auto part = [begin](const auto& whole, auto* to, int64_t per_group) {
    std::copy_n(whole.begin() + begin * per_group, to->size(), to->begin());
  };
  part(code.codes, &io->book_codes, io->cols / io->levels.in_group * io->levels.codebooks);
  part(code.scales, &io->scales, io->groups);
  if (io->storage.kind != StorageKind::kTable) return;
  part(code.scale_codes, &io->scale_codes, io->groups);
  part(code.scale_tables, &io->super, int64_t{1} << io->storage.bits);
}

}  // namespace

RowFacts WeightSolver::SolveRows(const float* w, Coded* io, SolveScratch* scratch,
                                 Executor& executor, const CancelToken& cancel) const {
  if (state_->spec.levels.additive()) {
    CopyAdditive(state_->additive, io);
    return {};
  }
  return Stripe(*state_, w, io, scratch, executor, cancel).Solve();
}

std::vector<std::string> WeightSolver::notes() const {
  std::vector<std::string> notes;
  const CodedShared& shared = state_->shared;
  if (!shared.column_bits.empty()) {
    const int high = state_->spec.allocation.high_bits;
    notes.push_back(
        absl::StrCat(std::count(shared.column_bits.begin(), shared.column_bits.end(), high), " of ",
                     shared.column_bits.size(), " columns have ", high, " bits"));
  }
  return notes;
}

}  // namespace quantd
