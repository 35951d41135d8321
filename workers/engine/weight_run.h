// One weight through the row stripes: solve, pack, decode from the packed bytes, measure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/packed.h"
#include "workers/core/report.h"
#include "workers/methods/method.h"
#include "workers/pack/layout.h"

namespace quantd {

struct WeightJob {
  std::string name;
  WeightView view;
  const Spec* spec = nullptr;
  const Method* method = nullptr;
  const GroupSolver* solver = nullptr;
  const Layout* layout = nullptr;
  bool with_hessian = false;  // the solver has energies
};

struct WeightResult {
  TensorReport report;               // outcome kOk or kRejected; without digests and source digest
  std::vector<PackedTensor> packed;  // empty when rejected
  double solve_seconds = 0;          // wall time, split by where the threads were
  double measure_seconds = 0;
};

// `on_rows(count)` is called from worker threads as rows are finished. Errors: of the token, and
// RESOURCE_EXHAUSTED when memory runs out.
absl::StatusOr<WeightResult> RunWeight(const WeightJob& job, Executor& executor,
                                       const CancelToken& cancel,
                                       const std::function<void(int64_t)>& on_rows);

}  // namespace quantd
