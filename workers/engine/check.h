// Checks of a job's declarations that need no bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "workers/core/job.h"
#include "workers/engine/engine.h"
#include "workers/pack/layout.h"

namespace quantd {

// What the declarations of a QuantizeJob amount to: indices into job.tensors, -1 where there is
// none.
struct QuantizeShape {
  std::vector<int> weights;
  std::vector<int> fisher, gradient;          // by weight
  std::vector<int> codebooks, scales, codes;  // by weight
  int statistics = -1;                        // HESSIAN or ACTIVATIONS
  int token_weight = -1;
  int abs_mean = -1, abs_max = -1;
  int cross_moment = -1;
  int rotation_signs = -1;
  int checkpoint = -1;
  bool channels = false;  // column scales are looked for: ACTIVATIONS tell channel statistics, too
  int64_t n = 0;          // columns, shared by all weights
};

// Id, counts, unique names, sizes under `limits`.
absl::Status CheckDeclarations(const std::string& id, const std::vector<TensorDecl>& tensors,
                               const JobLimits& limits);

// OK if the groups, patches and the rotation of `spec` fit an m x n weight; INVALID_ARGUMENT naming
// the tensor otherwise.
absl::Status CheckShape(const Spec& spec, const std::string& name, int64_t m, int64_t n);

// Roles, shapes that belong together, the spec against each weight and layout, statistics and given
// codebooks that the spec needs (FAILED_PRECONDITION).
absl::StatusOr<QuantizeShape> CheckQuantize(const QuantizeJob& job, const Layout& layout,
                                            const JobLimits& limits);

// Candidates (by index, rising) that one preparation of the group serves.
using PreparationSet = std::vector<int>;

// The declarations of a MeasureJob, and which candidates do not fit which weight.
struct MeasureShape {
  QuantizeShape tensors;
  std::vector<PreparationSet> sets;             // of all candidates
  std::vector<std::vector<std::string>> unfit;  // [candidate][weight]: why not; empty: it fits
};

// As CheckQuantize, for all candidates together: a role must be of use to one of them, and every
// one must have what it needs ("candidates[2]: ..."). A spec that does not fit a weight's shape or
// the layout is no error here: it has no figures for that weight.
absl::StatusOr<MeasureShape> CheckMeasure(const MeasureJob& job, const Layout& layout,
                                          const JobLimits& limits);

}  // namespace quantd
