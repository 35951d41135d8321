// The factor of the damped H that GPTQ sweeps with, and output errors through it.
//
// Positions and columns: `column_at` [n] lists original columns from the LAST that is quantized to
// the first, so that the sweep runs from position n - 1 down to 0. With that reversal the flipped
// Cholesky factorization of methods.md C.2 is an ordinary one: P H P^T = L L^T with L lower.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "workers/calib/hessian.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/spec.h"

namespace quantd {

// Sweep order for `order` with groups of `group_columns` original columns: act-order sorts by
// falling diag(H), group-aware sorts inside each group and then the groups by their largest entry
// (ties by index). Returned as column_at, last first.
std::vector<int32_t> SweepOrder(Order order, int64_t group_columns, const Hessian& hessian);

// Lives in the lower triangle of its Hessian, which must outlive it.
class Factor {
 public:
  enum class Form {
    kCholesky,  // L with P H_lambda P^T = L L^T, scaled by 1 / mean_diagonal
    kInverse,   // L^-1: entry [i, j], i > j, is GPTQ's U in reversed order
  };

  // Climbs the ladder until a rung factors. FAILED_PRECONDITION when none does (retries() counts
  // the rungs then, too); errors of the token. H itself is untouched either way.
  static absl::StatusOr<Factor> Create(Hessian* hessian, std::vector<int32_t> column_at,
                                       const Damping& damping, Form form, Executor& executor,
                                       const CancelToken& cancel);

  // [n, n] lower triangle, leading dimension n; what lies above the diagonal is not the factor's.
  const float* lower() const { return hessian_->square(); }
  int64_t n() const { return hessian_->n(); }
  const Hessian& hessian() const { return *hessian_; }
  Form form() const { return form_; }
  absl::Span<const int32_t> column_at() const { return column_at_; }
  double damping_fraction() const { return damping_fraction_; }
  int retries() const { return retries_; }

  // tr(A H A^T) with the undamped H, for rows of A given transposed: at [n, rows] in position
  // order. Positions of dead columns, which cost nothing, are cleared in `at`. `scratch` is resized
  // as needed. Sums in double, in a fixed order.
  double Energy(float* at, int64_t rows, std::vector<float>* scratch,
                const CancelToken& cancel) const;

  // tr(A H A^T) from tr(A H_lambda A^T) in the factor's own scale, for A [rows, n] in original
  // columns: takes off what the damping and the stand-in diagonal of dead columns added.
  double Undamp(double damped, const float* a, int64_t rows) const;

 private:
  Hessian* hessian_ = nullptr;
  std::vector<int32_t> column_at_;
  Form form_ = Form::kCholesky;
  double damping_fraction_ = 0;
  int retries_ = 0;
};

// tr(A H A^T) without a factor, for at [n, rows] in original column order.
double EnergyWithoutFactor(const Hessian& hessian, const float* at, int64_t rows,
                           std::vector<float>* scratch, const CancelToken& cancel);

}  // namespace quantd
