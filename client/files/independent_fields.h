// The inside of independent_decoder.h: single fields of packed tensors, read bit by bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/files/quantization_config.h"
#include "workers/core/packed.h"
#include "workers/core/shape.h"

namespace quantd::independent {

using Bytes = absl::Span<const std::byte>;

int Bit(Bytes bytes, int64_t index);

// A field of consecutive bits, the first being the lowest.
int Field(Bytes bytes, int64_t first_bit, int bits);

// The same in a stream of 32-bit words of which word i is element i * stride + column.
int StridedField(Bytes bytes, int64_t first_bit, int bits, int64_t stride, int64_t column);

// Element `index` of little-endian integers of `width` bytes, signed.
int64_t Integer(Bytes bytes, int64_t index, int width);

// Element `index` of F16, BF16 or F32.
float Real(Bytes bytes, DType dtype, int64_t index);

// A minifloat's value by OCP's rules; bits above the format's width are ignored.
float Minifloat(NumberFormat format, int code);

// 2^(code - 127); NaN for 255.
float PowerOfTwo(int code);

// The stored tensors of one module, found by suffix.
class Tensors {
 public:
  Tensors(const ConfigModule& module, absl::Span<const PackedView> tensors)
      : module_(module), tensors_(tensors) {}

  const ConfigModule& module() const { return module_; }
  int64_t rows() const { return module_.rows; }
  int64_t cols() const { return module_.cols; }

  // The tensor with `suffix`, which must have this dtype and shape; -1 in `shape` stands for any.
  absl::StatusOr<Bytes> Find(absl::string_view suffix, DType dtype, const Shape& shape) const;
  const PackedView* Lookup(absl::string_view suffix) const;  // null if there is none
  absl::Status Bad(absl::string_view suffix, absl::string_view what) const;

 private:
  const ConfigModule& module_;
  const absl::Span<const PackedView> tensors_;
};

// `.codebooks` F16 [M, 2^B, out_group, in_group] of additive levels whose patches fill the weight.
absl::StatusOr<Bytes> FindCodebooks(const Tensors& tensors);

// What the M codes of a patch add up to, in their order, at (row, column) of the weight.
// `code(book)` gives them.
float PatchSum(const Levels& levels, Bytes codebooks, int64_t row, int64_t column,
               absl::FunctionRef<int(int)> code);

using Rows = absl::StatusOr<std::vector<float>>;

// Rows [begin, begin + rows) in each layout.
Rows DecodeInt8(const Tensors& tensors, int64_t begin, int64_t rows);
Rows DecodeFloat8(const Tensors& tensors, int64_t begin, int64_t rows);
Rows DecodeNvFp4(const Tensors& tensors, int64_t begin, int64_t rows);
Rows DecodeMxFp(const Tensors& tensors, bool fp4, int64_t begin, int64_t rows);
Rows DecodeBitsAndBytes(const Tensors& tensors, int64_t begin, int64_t rows);
Rows DecodeAqlm(const Tensors& tensors, int64_t begin, int64_t rows);
Rows DecodeSpqr(const Tensors& tensors, int64_t begin, int64_t rows);
Rows DecodePlain(const Tensors& tensors, int64_t begin, int64_t rows);

}  // namespace quantd::independent
