// What quantctl's exit codes mean, and which error gets which.
#pragma once

#include "absl/status/status.h"

namespace quantd::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitRuntime = 1;  // server lost after all retries, disk full, verify mismatch
inline constexpr int kExitBadInput = 2;  // wrong flags, files or values
inline constexpr int kExitDegraded = 3;  // finished layers that the policy does not accept
inline constexpr int kExitInterrupted = 130;

// INVALID_ARGUMENT, OUT_OF_RANGE, FAILED_PRECONDITION, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED
// and UNIMPLEMENTED speak about what the user gave; all else happened on the way.
int ExitCodeFor(const absl::Status& status);

}  // namespace quantd::cli
