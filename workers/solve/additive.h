// AQLM's alternation for one weight: start, then rounds of { codebooks and scales; codes } until
// nothing is gained, then the rounding of codebooks and scales to what is stored.
//
// The solve is a chain of steps; after each one its whole state can be saved, and a solve that
// starts from a saved state ends in the same bytes.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/solve_watch.h"
#include "workers/core/spec.h"
#include "workers/levels/additive.h"
#include "workers/linalg/weight_view.h"
#include "workers/solve/metric.h"

namespace quantd {

struct AdditiveProblem {
  const Spec* spec = nullptr;
  WeightView weight;
  const Metric* metric = nullptr;
  // FitKind::kGiven: codebooks and scales, kept as they are but for their rounding, and codes to
  // start from (empty: each patch starts from its nearest entries, one codebook after the other).
  const AdditiveCode* given = nullptr;
  absl::string_view state;  // of an interrupted solve, or empty
};

// The code, with codebooks and scales that are numbers of F16. INVALID_ARGUMENT for fewer patches
// than entries, for a state that is not one of this problem, for given numbers beyond F16; errors
// of the token. `watch` may be null.
absl::StatusOr<AdditiveCode> SolveAdditive(const AdditiveProblem& problem, Executor& executor,
                                           const CancelToken& cancel, SolveWatch* watch);

// For the cost model: flops of one weight's solve as a whole, with H or without; bytes that it
// holds beside the weight and H; and bytes that each thread has in hand.
double AdditiveFlops(const Spec& spec, int64_t m, int64_t n, bool with_hessian);
uint64_t AdditiveBytes(const Spec& spec, int64_t m, int64_t n, bool with_hessian);
uint64_t AdditiveThreadBytes(const Spec& spec, int64_t m, int64_t n);

}  // namespace quantd
