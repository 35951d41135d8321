// Checks of a job's declarations that need no bytes.
#pragma once

#include <cstdint>
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
  int64_t n = 0;  // columns, shared by all weights
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

}  // namespace quantd
