#include "workers/core/shape.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

// Far above any tensor, far below where sums of a few sizes could wrap.
constexpr uint64_t kMaxSize = uint64_t{1} << 62;

}  // namespace

std::string ShapeString(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<uint64_t> CheckedElements(absl::Span<const int64_t> shape,
                                         absl::string_view tensor) {
  uint64_t product = 1;
  bool empty = false;
  for (int64_t d : shape) {
    if (d < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor '", tensor, "': shape ", ShapeString(shape), " has a negative dimension"));
    }
    empty |= d == 0;
  }
  if (empty) return uint64_t{0};
  for (int64_t d : shape) {
    if (static_cast<uint64_t>(d) > kMaxSize / product) {
      return absl::OutOfRangeError(
          absl::StrCat("tensor '", tensor, "': shape ", ShapeString(shape), " is too large"));
    }
    product *= static_cast<uint64_t>(d);
  }
  return product;
}

absl::StatusOr<uint64_t> CheckedBytes(absl::Span<const int64_t> shape, DType dtype,
                                      absl::string_view tensor) {
  const size_t width = DTypeBytes(dtype);
  if (width == 0) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor, "': dtype is unspecified"));
  }
  QUANTD_ASSIGN_OR_RETURN(const uint64_t elements, CheckedElements(shape, tensor));
  if (elements > kMaxSize / width) {
    return absl::OutOfRangeError(
        absl::StrCat("tensor '", tensor, "': shape ", ShapeString(shape), " is too large"));
  }
  return elements * width;
}

}  // namespace quantd
