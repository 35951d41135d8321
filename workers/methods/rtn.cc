#include "workers/methods/rtn.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "workers/calib/factor.h"
#include "workers/core/shape.h"
#include "workers/linalg/convert.h"
#include "workers/solve/rtn.h"

namespace quantd {
namespace {

class RtnSolver : public GroupSolver {
 public:
  explicit RtnSolver(const Hessian* hessian) : hessian_(hessian) {}

  RowFacts SolveRows(const WeightFit& fit, const float* w, Coded* io, SolveScratch*,
                     const CancelToken& cancel) const override {
    RowFacts facts;
    facts.fit = fit.Fit(w, io, cancel);
    RoundRows(w, io);
    return facts;
  }

  bool has_energy() const override { return hessian_ != nullptr; }

  double Energy(const float* a, int64_t rows, SolveScratch* scratch,
                const CancelToken& cancel) const override {
    const int64_t n = hessian_->n();
    scratch->transposed.resize(n * rows);
    TransposeF32(a, rows, n, n, scratch->transposed.data(), rows);
    return EnergyWithoutFactor(*hessian_, scratch->transposed.data(), rows, &scratch->energy,
                               cancel);
  }

 private:
  const Hessian* hessian_;
};

class Rtn : public Method {
 public:
  absl::string_view name() const override { return "rtn"; }
  absl::string_view title() const override { return "Round to nearest"; }
  absl::string_view paper() const override { return "none: the baseline of the field"; }
  absl::string_view needs() const override { return "nothing; a Hessian adds output errors"; }
  absl::string_view when_not_to_use() const override {
    return "below 4 bits, or at 4 bits without groups: use gptq";
  }

  Spec Defaults() const override {
    Spec spec;
    spec.method = "rtn";
    return spec;
  }

  bool NeedsHessian() const override { return false; }

  absl::Status Check(const Spec& spec) const override {
    if (spec.solve.solver != Solver::kRtn) {
      return absl::InvalidArgumentError(absl::StrCat(
          "spec.solver: method rtn rounds to nearest, not ", SolverName(spec.solve.solver)));
    }
    return CheckAffineAxes(spec);
  }

  int64_t StripeRows(int64_t m, int64_t n, bool with_hessian) const override {
    // About 128 Ki weights: codes and floats of a stripe stay in the L2 cache. Output errors want
    // taller stripes, for the speed of the products with H.
    const int64_t fitting = with_hessian ? 256 : (int64_t{1} << 17) / n / 32 * 32;
    const int64_t spread = CeilDiv(CeilDiv(m, 8), 32) * 32;  // leave work for several threads
    return std::clamp<int64_t>(std::min(fitting, spread), 32, 256);
  }

  double WeightFlops(const Spec& spec, int64_t m, int64_t n) const override {
    const double candidates = spec.fit.kind == FitKind::kShrinkSearch ? spec.fit.steps + 1 : 0;
    return static_cast<double>(m) * static_cast<double>(n) * (8 + 10 * candidates);
  }
  double GroupFlops(const Spec&, int64_t) const override { return 0; }

  uint64_t ScratchBytes(const Spec&, int64_t rows, int64_t n, bool with_hessian) const override {
    // transposed [n, rows], and 256 rows of H with their product
    return with_hessian ? 4 * static_cast<uint64_t>(n * rows + 256 * (n + rows)) : 0;
  }

  absl::StatusOr<std::unique_ptr<GroupSolver>> Prepare(const Spec&, Hessian* hessian, Executor&,
                                                       const CancelToken&) const override {
    return std::unique_ptr<GroupSolver>(new RtnSolver(hessian));
  }
};

}  // namespace

const Method& RtnMethod() {
  static const Rtn method;
  return method;
}

}  // namespace quantd
