// A method: a preset that composes the axes, behind one interface that the engine drives.
//
// Life of a layer group: Method::Prepare() once (H validated before; factored here, once for all
// weights that share it), then per weight GroupSolver::BeginWeight() and, from any threads,
// SolveRows() per stripe of rows.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/calib/hessian.h"
#include "workers/core/cancel.h"
#include "workers/core/coded.h"
#include "workers/core/executor.h"
#include "workers/core/report.h"
#include "workers/core/spec.h"
#include "workers/fit/fit.h"
#include "workers/methods/weight_fit.h"
#include "workers/solve/descent.h"
#include "workers/solve/gptq.h"

namespace quantd {

// Working memory of one thread; owned by the engine, reused from stripe to stripe.
struct SolveScratch {
  SweepScratch sweep;
  DescentScratch descent;
  std::vector<float> transposed;  // [n, rows]
  std::vector<float> permuted;    // [n, rows]
  std::vector<float> energy;
};

// What a stripe contributes to the weight's report.
struct RowFacts {
  FitFacts fit;
  float max_compensated = 0;
  // The solver's own figure for the error's energy, where it comes for free: see ErrorEnergy().
  std::optional<double> loss;
};

// A layer group, ready to be solved. Const calls are thread-safe.
class GroupSolver {
 public:
  virtual ~GroupSolver() = default;

  // Codes, scales, zeros (and group_of_column) for the stripe `w` [io->rows, n]; `io` is Reshape'd.
  // `fit` belongs to the weight. Stops early when the token is set.
  virtual RowFacts SolveRows(const WeightFit& fit, const float* w, Coded* io, SolveScratch* scratch,
                             const CancelToken& cancel) const = 0;

  // Column groups when they are not column / group_columns (dynamic groups in another order); else
  // empty.
  virtual std::vector<int32_t> GroupOfColumn() const { return {}; }

  // tr(A H A^T) for rows `a` [rows, n], through what the method keeps of H. Requires has_energy().
  virtual bool has_energy() const = 0;
  virtual double Energy(const float* a, int64_t rows, SolveScratch* scratch,
                        const CancelToken& cancel) const = 0;

  // Energy(a) for the error `a` [rows, n] that the codes of a SolveRows() call with these facts
  // leave. Only for exactly those codes: the engine has compared them with what it unpacked.
  virtual double ErrorEnergy(const RowFacts& facts, const float* a, int64_t rows,
                             SolveScratch* scratch, const CancelToken& cancel) const {
    static_cast<void>(facts);
    return Energy(a, rows, scratch, cancel);
  }

  // What Prepare() had to do; absent for methods without a factor. `growth` is the engine's to
  // fill.
  virtual std::optional<SolverFacts> facts() const { return std::nullopt; }
  // Why weights of this group are DEGRADED; empty when all went as the spec says.
  virtual std::string degraded() const { return ""; }
};

class Method {
 public:
  virtual ~Method() = default;

  virtual absl::string_view name() const = 0;
  virtual absl::string_view title() const = 0;
  virtual absl::string_view paper() const = 0;
  virtual absl::string_view needs() const = 0;  // statistics, in words
  virtual absl::string_view when_not_to_use() const = 0;

  virtual Spec Defaults() const = 0;
  virtual bool NeedsHessian() const = 0;

  // OK if the axes of `spec` make sense together; INVALID_ARGUMENT naming axis, value and reason.
  virtual absl::Status Check(const Spec& spec) const = 0;

  // Rows of one stripe of an m x n weight: a multiple of 32, from shapes and spec alone.
  // `with_hessian`: output errors are measured too.
  virtual int64_t StripeRows(int64_t m, int64_t n, bool with_hessian) const = 0;

  // Flops for one m x n weight, and once per layer group, beyond what the measures cost.
  virtual double WeightFlops(const Spec& spec, int64_t m, int64_t n) const = 0;
  virtual double GroupFlops(const Spec& spec, int64_t n) const = 0;
  // Bytes of SolveScratch for stripes of `rows` rows.
  virtual uint64_t ScratchBytes(const Spec& spec, int64_t rows, int64_t n,
                                bool with_hessian) const = 0;

  // `hessian` may be null unless NeedsHessian(); it is used as workspace and must outlive the
  // solver. FAILED_PRECONDITION when H cannot be factored and the spec allows no fall-back (the
  // group's weights are then REJECTED with the message); errors of the token.
  virtual absl::StatusOr<std::unique_ptr<GroupSolver>> Prepare(const Spec& spec, Hessian* hessian,
                                                               Executor& executor,
                                                               const CancelToken& cancel) const = 0;
};

// The explicit table (list.cc), in the order users see.
absl::Span<const Method* const> AllMethods();

// INVALID_ARGUMENT listing the known names.
absl::StatusOr<const Method*> FindMethod(absl::string_view name);

// Ranges of the axes that every affine-integer method shares: bits, group size, fit, scale dtype.
absl::Status CheckAffineAxes(const Spec& spec);

}  // namespace quantd
