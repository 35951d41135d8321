// A second opinion on packed bytes: decodes a module straight from the format documents, one bit
// field at a time, and shares no code with the packers. Slow on purpose.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/files/checkpoint.h"
#include "client/files/quantization_config.h"
#include "workers/core/packed.h"

namespace quantd {

// Rows [row_begin, row_begin + rows) of the weight as F32, [rows, module.cols]. `tensors` are the
// module's stored tensors in any order, found by suffix; the layout is known by its name.
// INVALID_ARGUMENT naming suffix, field and value when bytes do not follow the format.
absl::StatusOr<std::vector<float>> DecodeIndependently(absl::string_view layout,
                                                       const ConfigModule& module,
                                                       absl::Span<const PackedView> tensors,
                                                       int64_t row_begin, int64_t rows);

}  // namespace quantd
