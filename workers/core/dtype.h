// Element types of tensors, under their safetensors names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace quantd {

// Values are stable: they travel on the wire and lie in journals.
enum class DType : uint8_t {
  kUnspecified = 0,
  kF32 = 1,
  kF16 = 2,
  kBF16 = 3,
  kF64 = 4,
  kI64 = 5,
  kI32 = 6,
  kI16 = 7,
  kI8 = 8,
  kU8 = 9,
  kBool = 10,
  kF8E4M3 = 11,
  kF8E5M2 = 12,
  kU16 = 13,
  kU32 = 14,
  kU64 = 15,
};

// Bytes of one element; 0 for kUnspecified.
size_t DTypeBytes(DType dtype);

// "F32", "BF16", ... ; "unspecified" for kUnspecified.
absl::string_view DTypeName(DType dtype);

// Inverse of DTypeName; nullopt for a name that is not in the list above.
std::optional<DType> ParseDType(absl::string_view name);

// True for the three types that weights, statistics and scales may have: F32, F16, BF16.
bool IsRealDType(DType dtype);

}  // namespace quantd
