// The axes of a spec put to work on a layer group.
//
// Life of a group: GroupSolver::Prepare() once (H is rotated, scaled and factored here, once for
// all weights that share it), then per weight BeginWeight(), which makes the passes that need the
// whole weight (tensor scales, outliers, tables), and from any threads SolveRows() per stripe of
// rows.
//
// Two bases: a caller deals in the weight as it was uploaded; a code stands for the weight after
// scaling and rotation (coded basis). Restore() goes back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "workers/calib/hessian.h"
#include "workers/core/buffer.h"
#include "workers/core/cancel.h"
#include "workers/core/coded.h"
#include "workers/core/executor.h"
#include "workers/core/report.h"
#include "workers/core/solve_watch.h"
#include "workers/core/spec.h"
#include "workers/fit/fit.h"
#include "workers/levels/additive.h"
#include "workers/linalg/weight_view.h"

namespace quantd {

// A weight of the group and what came with it. Views without bytes: not given.
struct WeightInputs {
  WeightView weight;
  WeightView fisher;                    // [m, n]
  WeightView gradient;                  // [m, n]
  const AdditiveCode* given = nullptr;  // FitKind::kGiven
  absl::string_view state;              // of an interrupted solve (SolveWatch::OnState), or empty
};

// What a group is prepared from. Everything outlives the solver.
struct GroupInputs {
  int64_t n = 0;
  Hessian* hessian = nullptr;          // null without; used as workspace, transformed in place
  std::vector<float> abs_mean;         // [n] or empty
  std::vector<float> abs_max;          // [n] or empty
  Buffer* cross_moment = nullptr;      // F32 [n, n] or null; used up
  std::vector<int8_t> rotation_signs;  // [n] or empty
  std::vector<WeightInputs> weights;   // in request order
};

struct SolveScratch;  // solve_scratch.h: working memory of one thread, kept from stripe to stripe

// What a stripe contributes to the weight's report.
struct RowFacts {
  FitFacts fit;
  float max_compensated = 0;
  // The solver's own figure for the error's energy, where it comes for free: see ErrorEnergy().
  std::optional<double> loss;
};

class WeightSolver;

// Const calls are thread-safe.
class GroupSolver {
 public:
  // Axes that are decided weight by weight may still be adaptive in `spec`. FAILED_PRECONDITION
  // when H cannot be factored and the spec allows no fall-back (the group's weights are then
  // REJECTED with the message); INVALID_ARGUMENT for statistics of no use; errors of the token.
  static absl::StatusOr<std::unique_ptr<GroupSolver>> Prepare(const Spec& spec, GroupInputs* inputs,
                                                              Executor& executor,
                                                              const CancelToken& cancel);
  // A group of n columns that was prepared for `prepared` serves weights under `spec`, too: what
  // Prepare() does is the same for both.
  static bool Serves(const Spec& prepared, const Spec& spec, int64_t n);
  // Prepare() leaves the group's H and cross moment as they were, for another preparation.
  static bool KeepsInputs(const Spec& spec);

  ~GroupSolver();
  GroupSolver(const GroupSolver&) = delete;
  GroupSolver& operator=(const GroupSolver&) = delete;

  // `spec` is one of CandidatesOf the group's (or of one that it Serves), or the baseline's.
  // `stripe_rows` fixes the order of sums over the weight. The result must not outlive this.
  // `watch` (may be null) is told how solves of whole weights go on.
  absl::StatusOr<std::unique_ptr<WeightSolver>> BeginWeight(const Spec& spec, int weight,
                                                            int64_t stripe_rows, Executor& executor,
                                                            const CancelToken& cancel,
                                                            SolveWatch* watch = nullptr) const;

  // tr(A H A^T) with the undamped H, for rows `a` [rows, n] in the uploaded basis. Requires
  // has_energy().
  bool has_energy() const;
  double Energy(const float* a, int64_t rows, SolveScratch* scratch,
                const CancelToken& cancel) const;

  // Energy(a) for the error `a` [rows, n] that the codes of a SolveRows() call with these facts
  // leave. Only for exactly those codes: the engine has compared them with what it unpacked.
  double ErrorEnergy(const RowFacts& facts, const float* a, int64_t rows, SolveScratch* scratch,
                     const CancelToken& cancel) const;

  // sum over rows of (w' H w'^T - 2 w C w'^T) - (w H w^T - 2 w C w^T), with w' = w - error: see
  // TensorReport::drift_error.
  bool has_drift() const;
  double Drift(const float* w, const float* error, int64_t rows, SolveScratch* scratch,
               const CancelToken& cancel) const;

  // What Prepare() had to do; absent without a factor. `growth` is the engine's to fill.
  std::optional<SolverFacts> facts() const;
  // Why weights of this group are DEGRADED; empty when all went as the spec says.
  OutcomeReason degraded() const;
  // Facts about the group for its reports: the exponent of the column scales ...
  std::vector<std::string> notes() const;

  struct State;  // group_state.h, for the files of this room

 private:
  double DriftOf(const float* w, const float* error, int64_t rows, SolveScratch* scratch,
                 const CancelToken& cancel) const;

  explicit GroupSolver(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One weight under one concrete spec. Const calls are thread-safe.
class WeightSolver {
 public:
  ~WeightSolver();
  WeightSolver(const WeightSolver&) = delete;
  WeightSolver& operator=(const WeightSolver&) = delete;

  const Spec& spec() const;
  // What the code holds once for all rows; outlives every Coded of this weight.
  const CodedShared& shared() const;

  // Codes and parameters for the stripe `w` [io->rows, n] in the uploaded basis; `io` is Reshape'd
  // with spec() and shared(). Rows are stored rows: see RowOrder (row_order.h). `executor` serves
  // sweeps that span all rows. Stops early when the token is set.
  RowFacts SolveRows(const float* w, Coded* io, SolveScratch* scratch, Executor& executor,
                     const CancelToken& cancel) const;

  // Facts for the report: how many columns were kept ...
  std::vector<std::string> notes() const;

  struct State;  // for the files of this room

 private:
  friend class GroupSolver;
  explicit WeightSolver(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace quantd
