// One weight under one concrete spec: solve, pack, decode from the packed bytes, measure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "workers/compose/group_solver.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/packed.h"
#include "workers/core/report.h"
#include "workers/core/solve_watch.h"
#include "workers/pack/layout.h"

namespace quantd {

// tr(W H W^T) of a weight, stripe by stripe: the same for all specs that a prepared group serves
// and that cut the weight alike.
struct SourceEnergies {
  int64_t stripe_rows = 0;
  std::vector<double> of_stripe;  // empty: not known yet
};

struct WeightJob {
  std::string name;
  Spec spec;  // nothing adaptive left
  const WeightInputs* inputs = nullptr;
  int index = 0;  // of the weight in the group
  const GroupSolver* group = nullptr;
  const Layout* layout = nullptr;
  SolveWatch* watch = nullptr;  // may be null
  bool with_baseline = true;    // measure plain rounding beside it
  // May be null; else used where it fits, and filled in where it does not.
  SourceEnergies* source_energies = nullptr;
};

struct WeightResult {
  TensorReport report;               // outcome kOk or kRejected; without digests and source digest
  std::vector<PackedTensor> packed;  // empty when rejected
  double solve_seconds = 0;          // wall time, split by where the threads were
  double measure_seconds = 0;
};

// `on_rows(count)` is called from worker threads as rows are finished. Errors: of the token,
// RESOURCE_EXHAUSTED when memory runs out, INVALID_ARGUMENT for statistics of no use to the weight.
absl::StatusOr<WeightResult> RunWeight(const WeightJob& job, Executor& executor,
                                       const CancelToken& cancel,
                                       const std::function<void(int64_t)>& on_rows);

}  // namespace quantd
