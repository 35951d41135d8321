// CODEBOOKS, SCALES and CODES of a request (FitKind::kGiven) as solvers hold them.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/tensor.h"

namespace quantd {

// Bytes of a CODES tensor -> codes below 2^bits: negative ones wrap by 2^bits, as they do where
// signed integers hold codes of as many bits. INVALID_ARGUMENT naming tensor, index and value for
// what no code of `bits` bits is; errors of the token.
absl::Status ReadCodes(const TensorDecl& decl, absl::Span<const std::byte> bytes, int bits,
                       Executor& executor, const CancelToken& cancel, std::vector<uint16_t>* out);

// INVALID_ARGUMENT naming tensor, index and value for a number that is not finite or beyond F16,
// as which codebooks and scales are stored.
absl::Status CheckStorableF16(const TensorDecl& decl, absl::Span<const float> values);

}  // namespace quantd
