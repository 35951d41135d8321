#include "workers/methods/gptq.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "workers/calib/factor.h"
#include "workers/core/shape.h"
#include "workers/linalg/convert.h"
#include "workers/solve/rtn.h"

namespace quantd {
namespace {

// H has a factor: sweep.
class SweepSolver : public GroupSolver {
 public:
  SweepSolver(const Spec& spec, const Hessian* hessian, Factor factor)
      : spec_(spec), hessian_(hessian), factor_(std::move(factor)) {}

  RowFacts SolveRows(const WeightFit& fit, const float* w, Coded* io, SolveScratch* scratch,
                     const CancelToken& cancel) const override {
    RowFacts facts;
    if (spec_.solve.timing == GroupTiming::kStatic) facts.fit = fit.Fit(w, io, cancel);
    const SweepFacts sweep = SweepRows(factor_, spec_, w, io, &scratch->sweep, cancel);
    if (sweep.fit.scale_overflow) facts.fit = sweep.fit;
    facts.max_compensated = sweep.max_compensated;
    if (spec_.solve.descent_passes > 0) {
      DescendRows(*hessian_, w, spec_.solve.descent_passes, io, &scratch->descent, cancel);
    } else {
      facts.loss = sweep.damped_loss;
    }
    return facts;
  }

  std::vector<int32_t> GroupOfColumn() const override {
    if (spec_.solve.timing == GroupTiming::kStatic || spec_.solve.order == Order::kNatural)
      return {};
    const int64_t n = factor_.n(), group = spec_.partition.GroupColumns(n);
    std::vector<int32_t> groups(n);
    for (int64_t p = 0; p < n; ++p) {
      groups[factor_.column_at()[p]] = static_cast<int32_t>((n - 1 - p) / group);
    }
    return groups;
  }

  bool has_energy() const override { return true; }

  double Energy(const float* a, int64_t rows, SolveScratch* scratch,
                const CancelToken& cancel) const override {
    const int64_t n = factor_.n();
    scratch->transposed.resize(n * rows);
    scratch->permuted.resize(n * rows);
    TransposeF32(a, rows, n, n, scratch->transposed.data(), rows);
    for (int64_t p = 0; p < n; ++p) {
      std::copy_n(scratch->transposed.data() + factor_.column_at()[p] * rows, rows,
                  scratch->permuted.data() + p * rows);
    }
    return factor_.Energy(scratch->permuted.data(), rows, &scratch->energy, cancel);
  }

  double ErrorEnergy(const RowFacts& facts, const float* a, int64_t rows, SolveScratch* scratch,
                     const CancelToken& cancel) const override {
    if (!facts.loss.has_value()) return Energy(a, rows, scratch, cancel);
    return factor_.Undamp(*facts.loss, a, rows);
  }

  std::optional<SolverFacts> facts() const override {
    SolverFacts f;
    f.damping_fraction = factor_.damping_fraction();
    f.damping_retries = factor_.retries();
    f.dead_columns = hessian_->dead_columns();
    return f;
  }

  std::string degraded() const override {
    if (hessian_->dead_columns() == hessian_->n()) {
      return "no calibration signal: every column of H is zero, so all were rounded to nearest";
    }
    if (factor_.retries() == 0) return "";
    return absl::StrCat("H is not positive definite at damping ", spec_.solve.damping.fraction,
                        "; factored at ", factor_.damping_fraction(), " after ", factor_.retries(),
                        factor_.retries() == 1 ? " retry" : " retries");
  }

 private:
  const Spec spec_;
  const Hessian* hessian_;
  const Factor factor_;
};

// No rung of the ladder factored: coordinate descent from round to nearest.
class DescentSolver : public GroupSolver {
 public:
  DescentSolver(const Spec& spec, const Hessian* hessian, std::string reason)
      : spec_(spec), hessian_(hessian), reason_(std::move(reason)) {}

  RowFacts SolveRows(const WeightFit& fit, const float* w, Coded* io, SolveScratch* scratch,
                     const CancelToken& cancel) const override {
    RowFacts facts;
    facts.fit = fit.Fit(w, io, cancel);
    RoundRows(w, io);
    DescendRows(*hessian_, w, spec_.solve.fallback_descent_passes, io, &scratch->descent, cancel);
    return facts;
  }

  bool has_energy() const override { return true; }

  double Energy(const float* a, int64_t rows, SolveScratch* scratch,
                const CancelToken& cancel) const override {
    const int64_t n = hessian_->n();
    scratch->transposed.resize(n * rows);
    TransposeF32(a, rows, n, n, scratch->transposed.data(), rows);
    return EnergyWithoutFactor(*hessian_, scratch->transposed.data(), rows, &scratch->energy,
                               cancel);
  }

  std::optional<SolverFacts> facts() const override {
    SolverFacts f;
    f.damping_retries = LadderRetries(spec_.solve.damping);
    f.used_descent = true;
    f.dead_columns = hessian_->dead_columns();
    return f;
  }

  std::string degraded() const override {
    return absl::StrCat(reason_, "; ", spec_.solve.fallback_descent_passes,
                        " passes of coordinate descent from round to nearest instead");
  }

 private:
  const Spec spec_;
  const Hessian* hessian_;
  const std::string reason_;
};

class Gptq : public Method {
 public:
  absl::string_view name() const override { return "gptq"; }
  absl::string_view title() const override { return "GPTQ: error feedback through the Hessian"; }
  absl::string_view paper() const override { return "Frantar et al. 2022, arXiv 2210.17323"; }
  absl::string_view needs() const override {
    return "H = X^T X / T as HESSIAN, or X as ACTIVATIONS; better more tokens than columns";
  }
  absl::string_view when_not_to_use() const override {
    return "at 8 bits (rtn is as good), without calibration data, or at 2 bits with large groups";
  }

  Spec Defaults() const override {
    Spec spec;
    spec.method = "gptq";
    spec.solve.solver = Solver::kGptq;
    spec.solve.order = Order::kActOrder;
    return spec;
  }

  bool NeedsHessian() const override { return true; }

  absl::Status Check(const Spec& spec) const override {
    const Solve& s = spec.solve;
    const auto bad = [](const std::string& text) { return absl::InvalidArgumentError(text); };
    if (s.solver != Solver::kGptq) {
      return bad(absl::StrCat("spec.solver: method gptq is not ", SolverName(s.solver)));
    }
    if (s.block_columns < 1 || s.block_columns > 1024) {
      return bad(absl::StrCat("spec.gptq.block_columns: ", s.block_columns, " is not in 1..1024"));
    }
    if (!(s.damping.fraction >= 0) || !(s.damping.limit >= s.damping.fraction) ||
        !std::isfinite(s.damping.limit)) {
      return bad(absl::StrCat("spec.gptq.damping: needs 0 <= fraction <= limit, got ",
                              s.damping.fraction, " and ", s.damping.limit));
    }
    if (!(s.damping.step > 1.0) || !std::isfinite(s.damping.step)) {
      return bad(absl::StrCat("spec.gptq.damping.step: ", s.damping.step, " is not above 1"));
    }
    if (LadderRetries(s.damping) >= kMaxRungs) {
      return bad(absl::StrCat("spec.gptq.damping: step ", s.damping.step, " from ",
                              s.damping.fraction, " needs ", kMaxRungs, " rungs or more to reach ",
                              s.damping.limit));
    }
    if (s.descent_passes < 0 || s.descent_passes > 100 || s.fallback_descent_passes < 0 ||
        s.fallback_descent_passes > 100) {
      return bad(absl::StrCat("spec.gptq: descent passes ", s.descent_passes, " and ",
                              s.fallback_descent_passes, " are not in 0..100"));
    }
    if (s.timing == GroupTiming::kDynamic) {
      if (spec.partition.granularity != Granularity::kGroup) {
        return bad("spec.gptq.timing: dynamic groups need spec.partition.granularity group");
      }
      if (s.factorization == Factorization::kLdlq) {
        return bad(
            "spec.gptq.factorization: ldlq reads the untouched weight, so it cannot fit dynamic "
            "groups; use cholesky");
      }
      if (s.order == Order::kGroupAware) {
        return bad("spec.gptq.order: group-aware order is for static groups; use act-order");
      }
    }
    if (s.order == Order::kGroupAware && spec.partition.granularity != Granularity::kGroup) {
      return bad("spec.gptq.order: group-aware order needs spec.partition.granularity group");
    }
    return CheckAffineAxes(spec);
  }

  int64_t StripeRows(int64_t m, int64_t n, bool) const override {
    // Tall stripes feed GEMM; 16 MiB of floats at most, and several stripes for several threads.
    const int64_t fitting = (int64_t{1} << 22) / n / 32 * 32;
    const int64_t spread = CeilDiv(CeilDiv(m, 8), 32) * 32;
    return std::clamp<int64_t>(std::min(fitting, spread), 64, 256);
  }

  double WeightFlops(const Spec& spec, int64_t m, int64_t n) const override {
    const double mn = static_cast<double>(m) * static_cast<double>(n);
    return mn * static_cast<double>(n) * (1 + 2 * spec.solve.descent_passes) +
           mn * spec.solve.block_columns * 2;
  }
  double GroupFlops(const Spec& spec, int64_t n) const override {
    const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    return cube / 3 * (UsesInverse(spec) ? 2 : 1);
  }

  uint64_t ScratchBytes(const Spec& spec, int64_t rows, int64_t n, bool) const override {
    const uint64_t area = static_cast<uint64_t>(rows) * static_cast<uint64_t>(n);
    const uint64_t groups = spec.partition.GroupsPerRow(n);
    uint64_t bytes = area * (4 + 4 + 1)  // sweep: weight, state, codes
                     + area * (4 + 4)    // energy: transposed, permuted
                     + groups * rows * 12 +
                     4 * static_cast<uint64_t>(std::max(256, spec.solve.block_columns)) *
                         static_cast<uint64_t>(rows + spec.solve.block_columns);
    if (UsesInverse(spec)) bytes += area * 4;  // energy: the solved panels
    if (spec.solve.descent_passes > 0) bytes += area * (4 + 4 + 1 + 4);
    // Blocks of H's rows for descent, also as the fall-back, and for its energies.
    return bytes + 4 * 256 * static_cast<uint64_t>(n + rows);
  }

  absl::StatusOr<std::unique_ptr<GroupSolver>> Prepare(const Spec& spec, Hessian* hessian,
                                                       Executor& executor,
                                                       const CancelToken& cancel) const override {
    const int64_t group = spec.partition.GroupColumns(hessian->n());
    absl::StatusOr<Factor> factor = Factor::Create(
        hessian, SweepOrder(spec.solve.order, group, *hessian), spec.solve.damping,
        UsesInverse(spec) ? Factor::Form::kInverse : Factor::Form::kCholesky, executor, cancel);
    if (factor.ok()) {
      return std::unique_ptr<GroupSolver>(new SweepSolver(spec, hessian, *std::move(factor)));
    }
    if (factor.status().code() != absl::StatusCode::kFailedPrecondition ||
        spec.solve.fallback_descent_passes == 0) {
      return factor.status();
    }
    Spec fallback = spec;  // descent freezes parameters: groups are static then
    fallback.solve.timing = GroupTiming::kStatic;
    return std::unique_ptr<GroupSolver>(
        new DescentSolver(fallback, hessian, std::string(factor.status().message())));
  }

 private:
  static bool UsesInverse(const Spec& spec) {
    return spec.solve.factorization == Factorization::kCholesky;
  }
};

}  // namespace

const Method& GptqMethod() {
  static const Gptq method;
  return method;
}

}  // namespace quantd
