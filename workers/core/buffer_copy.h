// Large buffers copied by all threads, with an eye on the token.
#pragma once

#include "absl/status/statusor.h"
#include "workers/core/buffer.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"

namespace quantd {

// RESOURCE_EXHAUSTED without memory for it; errors of the token.
absl::StatusOr<Buffer> CopyOf(const Buffer& from, Executor& executor, const CancelToken& cancel);

}  // namespace quantd
