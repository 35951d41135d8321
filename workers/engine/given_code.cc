#include "workers/engine/given_code.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "workers/core/float16.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

constexpr int64_t kCodesAtOnce = int64_t{1} << 20;

// Codes [begin, end); returns the index of the first that is out of range, or -1.
template <typename T>
int64_t ReadRun(const std::byte* bytes, int64_t begin, int64_t end, int bits, uint16_t* out) {
  const int64_t entries = int64_t{1} << bits, lowest = -(entries / 2);
  for (int64_t i = begin; i < end; ++i) {
    T value;
    std::memcpy(&value, bytes + i * static_cast<int64_t>(sizeof(T)), sizeof value);
    const int64_t code = value;
    if (code < lowest || code >= entries) return i;
    out[i] = static_cast<uint16_t>(code & (entries - 1));
  }
  return -1;
}

template <typename T>
absl::Status ReadAll(const TensorDecl& decl, const std::byte* bytes, int bits, Executor& executor,
                     const CancelToken& cancel, std::vector<uint16_t>* out) {
  const int64_t count = static_cast<int64_t>(out->size());
  std::vector<int64_t> bad(CeilDiv(count, kCodesAtOnce), -1);
  executor.ParallelFor(static_cast<int64_t>(bad.size()), [&](int64_t r) {
    if (cancel.cancelled()) return;
    const int64_t begin = r * kCodesAtOnce;
    bad[r] = ReadRun<T>(bytes, begin, std::min(count, begin + kCodesAtOnce), bits, out->data());
  });
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  for (const int64_t at : bad) {
    if (at < 0) continue;
    T value;
    std::memcpy(&value, bytes + at * static_cast<int64_t>(sizeof(T)), sizeof value);
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", decl.name, "': code ", static_cast<int64_t>(value), " at index ",
                     at, " is not in ", -(int64_t{1} << bits) / 2, "..", (int64_t{1} << bits) - 1));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadCodes(const TensorDecl& decl, absl::Span<const std::byte> bytes, int bits,
                       Executor& executor, const CancelToken& cancel, std::vector<uint16_t>* out) {
  QUANTD_ASSIGN_OR_RETURN(const uint64_t count, CheckedElements(decl.shape, decl.name));
  out->resize(count);
  switch (decl.dtype) {
    case DType::kI8:
      return ReadAll<int8_t>(decl, bytes.data(), bits, executor, cancel, out);
    case DType::kU8:
      return ReadAll<uint8_t>(decl, bytes.data(), bits, executor, cancel, out);
    case DType::kI16:
      return ReadAll<int16_t>(decl, bytes.data(), bits, executor, cancel, out);
    case DType::kU16:
      return ReadAll<uint16_t>(decl, bytes.data(), bits, executor, cancel, out);
    default:
      return ReadAll<int32_t>(decl, bytes.data(), bits, executor, cancel, out);
  }
}

absl::Status CheckStorableF16(const TensorDecl& decl, absl::Span<const float> values) {
  const float largest = MaxFinite(DType::kF16);
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::abs(values[i]) <= largest) continue;  // false for NaN, too
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", decl.name, "': value ", values[i], " at index ", i,
                     std::isfinite(values[i]) ? " is beyond the largest f16" : " is not finite"));
  }
  return absl::OkStatus();
}

}  // namespace quantd
