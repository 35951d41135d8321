// Codes for codebooks that are given: how they are stored, where a search starts, which may change.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/levels/additive.h"
#include "workers/linalg/weight_view.h"

namespace quantd {

// Rounds codebooks and scales to F16, as they are stored. INVALID_ARGUMENT naming the number that
// is beyond F16.
absl::Status RoundToStored(AdditiveCode* code);

// code->codes for its codebooks and scales: each patch takes the nearest entry of the first
// codebook, then the nearest of the second to what is left, and so on. Errors of the token.
absl::Status NearestCodes(const AdditiveShape& shape, const WeightView& weight, Executor& executor,
                          const CancelToken& cancel, AdditiveCode* code);

// 1 for the share of patches [out_groups, in_groups] with the largest |w - w'|^2, ties by index;
// at least one. Errors of the token.
absl::StatusOr<std::vector<uint8_t>> FarthestPatches(const AdditiveShape& shape,
                                                     const WeightView& weight,
                                                     const AdditiveCode& code, double share,
                                                     Executor& executor, const CancelToken& cancel);

}  // namespace quantd
