// Checks of additive levels that need no bytes: patches against the weight, given codes against
// both.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "workers/core/job.h"
#include "workers/core/spec.h"
#include "workers/core/tensor.h"

namespace quantd {

// Role of a tensor that belongs to FitKind::kGiven: CODEBOOKS, SCALES or CODES.
bool IsGivenCode(Role role);

// OK if patches tile an m x n weight, or the levels are no additive ones; INVALID_ARGUMENT naming
// the tensor otherwise.
absl::Status CheckPatches(const Spec& spec, const std::string& name, int64_t m, int64_t n);

// OK if an m x n weight, whose patches CheckPatches accepts, can be solved for: there are patches
// enough for the centers of a residual k-means, and what is given can be used.
absl::Status CheckAdditiveStart(const Spec& spec, const std::string& name, int64_t m, int64_t n);

// OK if the shape of `t`, which IsGivenCode, is that of the weight's code under `spec`.
absl::Status CheckGivenShape(const Spec& spec, const TensorDecl& t, const TensorDecl& weight);

// CHECKPOINT: U8 [bytes].
absl::Status CheckCheckpoint(const TensorDecl& t);

}  // namespace quantd
