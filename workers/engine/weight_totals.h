// From what the stripes of a weight saw to its report.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "workers/compose/group_solver.h"
#include "workers/core/coded.h"
#include "workers/core/digest.h"
#include "workers/core/packed.h"
#include "workers/core/report.h"
#include "workers/core/spec.h"
#include "workers/core/tensor.h"
#include "workers/engine/weight_run.h"
#include "workers/measure/error_accumulator.h"

namespace quantd {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start);

// What one stripe of rows adds up to.
struct StripeResult {
  ErrorAccumulator error, baseline;
  double source_energy = 0, error_energy = 0, baseline_energy = 0, drift = 0;
  RowFacts facts;
  float max_weight = 0;
  bool no_baseline = false;  // plain rounding would need a scale beyond its storage
  int64_t first_bad = -1;    // element of the weight that is not finite
  absl::Status status;
  double solve_seconds = 0, measure_seconds = 0;
};

// "weight is not finite at [3, 17]", for an element of a weight with n columns.
OutcomeReason NotFiniteReason(int64_t element, int64_t n);

// The report of a weight [m, n] that is not delivered: no figures. `source` is the digest of its
// bytes.
TensorReport RejectedReport(const TensorDecl& weight, const Digest& source, OutcomeReason reason);

// The weight is not delivered.
void Reject(OutcomeReason reason, TensorReport* report);

// DEGRADED for that reason, if there is one (see GroupSolver::degraded) and the outcome was OK.
void Degrade(OutcomeReason reason, TensorReport* report);

// Where the figures of plain rounding come from.
enum class BaselineFigures : uint8_t {
  kNone,      // there are none
  kOwn,       // the weight's own: it is plain rounding
  kMeasured,  // StripeResult::baseline
};

class WeightTotals {
 public:
  WeightTotals(std::string name, const Spec& spec, int64_t m, int64_t n)
      : name_(std::move(name)), spec_(spec), m_(m), n_(n) {}

  // The report without bytes and digests. Sums run over the stripes in order, so that they do not
  // depend on threads. The first status that is not OK is returned.
  absl::StatusOr<WeightResult> Collect(const std::vector<StripeResult>& stripes,
                                       const GroupSolver& group, BaselineFigures baseline,
                                       double wall_seconds) const;

  // Bits per weight and the share of exceptions.
  void CountBytes(const std::vector<PackedTensor>& packed, const OutlierTable& outliers,
                  const CodedShared& shared, TensorReport* report) const;

 private:
  OutcomeReason RejectReason(const std::vector<StripeResult>& stripes) const;
  void FillMeasures(const std::vector<StripeResult>& stripes, const GroupSolver& group,
                    BaselineFigures baseline, TensorReport* report) const;
  double CodeBits(const CodedShared& shared) const;

  const std::string name_;
  const Spec& spec_;
  const int64_t m_;
  const int64_t n_;
};

}  // namespace quantd
