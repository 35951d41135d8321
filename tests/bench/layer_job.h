// One weight through the engine, as a server would run it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "workers/core/executor.h"
#include "workers/engine/engine.h"

namespace quantd {

struct LayerRun {
  double seconds = 0;     // from the last uploaded byte to the report
  double peak_bytes = 0;  // resident at its highest, above what the process held before the upload
  int rounds = 0;         // of solvers that go in rounds
  Cost cost;              // as predicted
  TensorReport report;
};

// `method` is METHOD[,KEY=VALUE...]. Weight w [m, n] and, unless null, h [n, n].
absl::StatusOr<LayerRun> RunLayer(const std::string& method, int64_t m, int64_t n, const float* w,
                                  const float* h, Executor& executor);

// What such a job would cost with `threads` threads; nothing is allocated or run.
absl::StatusOr<Cost> LayerCost(const std::string& method, int64_t m, int64_t n, bool with_hessian,
                               int threads);

}  // namespace quantd
