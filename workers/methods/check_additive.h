// What additive levels go with: a part of CheckAxes (check.h).
#pragma once

#include "absl/status/status.h"
#include "workers/core/spec.h"

namespace quantd {

// Numbers that all codebooks of a weight hold at most: 128 MiB as F16.
inline constexpr int64_t kMaxBookNumbers = int64_t{1} << 26;

// OK if additive levels, beam search, the two fits and the storage that belong to them stand
// together, and with nothing that they exclude; also for specs that have none of them.
// INVALID_ARGUMENT naming field, value and reason. Every field lies in its range.
absl::Status CheckAdditive(const Spec& spec);

}  // namespace quantd
