#include "workers/core/dtype.h"

namespace quantd {
namespace {

struct Traits {
  DType dtype;
  absl::string_view name;
  size_t bytes;
};

constexpr Traits kTraits[] = {
    {DType::kF32, "F32", 4},   {DType::kF16, "F16", 2},        {DType::kBF16, "BF16", 2},
    {DType::kF64, "F64", 8},   {DType::kI64, "I64", 8},        {DType::kI32, "I32", 4},
    {DType::kI16, "I16", 2},   {DType::kI8, "I8", 1},          {DType::kU8, "U8", 1},
    {DType::kBool, "BOOL", 1}, {DType::kF8E4M3, "F8_E4M3", 1}, {DType::kF8E5M2, "F8_E5M2", 1},
    {DType::kU16, "U16", 2},   {DType::kU32, "U32", 4},        {DType::kU64, "U64", 8},
};

}  // namespace

size_t DTypeBytes(DType dtype) {
  for (const Traits& t : kTraits) {
    if (t.dtype == dtype) return t.bytes;
  }
  return 0;
}

absl::string_view DTypeName(DType dtype) {
  for (const Traits& t : kTraits) {
    if (t.dtype == dtype) return t.name;
  }
  return "unspecified";
}

std::optional<DType> ParseDType(absl::string_view name) {
  for (const Traits& t : kTraits) {
    if (t.name == name) return t.dtype;
  }
  return std::nullopt;
}

bool IsRealDType(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

}  // namespace quantd
