// Tensor shapes and the only multiplications that sizes from outside may go through.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/core/dtype.h"

namespace quantd {

// Outermost dimension first; C order.
using Shape = std::vector<int64_t>;

// "[4096, 11008]".
std::string ShapeString(absl::Span<const int64_t> shape);

// Product of the dimensions (1 for a scalar). INVALID_ARGUMENT naming `tensor` for a negative
// dimension, OUT_OF_RANGE when the product passes 2^62.
absl::StatusOr<uint64_t> CheckedElements(absl::Span<const int64_t> shape, absl::string_view tensor);

// CheckedElements x bytes per element, with the same errors and the same bound.
absl::StatusOr<uint64_t> CheckedBytes(absl::Span<const int64_t> shape, DType dtype,
                                      absl::string_view tensor);

inline constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace quantd
