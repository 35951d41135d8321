// Checks of a job's declarations that need no bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "workers/core/job.h"
#include "workers/engine/engine.h"
#include "workers/methods/method.h"
#include "workers/pack/layout.h"

namespace quantd {

// What the declarations of a QuantizeJob amount to.
struct QuantizeShape {
  std::vector<int> weights;  // indices into job.tensors
  int statistics = -1;       // index of the HESSIAN or ACTIVATIONS, -1 without
  int64_t n = 0;             // columns, shared by all weights
};

// Id, counts, unique names, sizes under `limits`.
absl::Status CheckDeclarations(const std::string& id, const std::vector<TensorDecl>& tensors,
                               const JobLimits& limits);

// Roles, shapes that belong together, the spec against each weight and layout, statistics that the
// method needs (FAILED_PRECONDITION).
absl::StatusOr<QuantizeShape> CheckQuantize(const QuantizeJob& job, const Method& method,
                                            const Layout& layout, const JobLimits& limits);

}  // namespace quantd
