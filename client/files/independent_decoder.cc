#include "client/files/independent_decoder.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

using Bytes = absl::Span<const std::byte>;

int Bit(Bytes bytes, int64_t index) {
  return static_cast<int>(bytes[index / 8]) >> (index % 8) & 1;
}

// A field of consecutive bits, the first being the lowest.
int Field(Bytes bytes, int64_t first_bit, int bits) {
  int value = 0;
  for (int i = 0; i < bits; ++i) value |= Bit(bytes, first_bit + i) << i;
  return value;
}

// Bit `bit` of a stream of 32-bit words of which word i is element i * stride + column.
int64_t StridedBit(int64_t bit, int64_t stride, int64_t column) {
  return 32 * (bit / 32 * stride + column) + bit % 32;
}

int StridedField(Bytes bytes, int64_t first_bit, int bits, int64_t stride, int64_t column) {
  int value = 0;
  for (int i = 0; i < bits; ++i) {
    value |= Bit(bytes, StridedBit(first_bit + i, stride, column)) << i;
  }
  return value;
}

int64_t Integer(Bytes bytes, int64_t index, int width) {
  uint64_t value = 0;
  for (int i = width - 1; i >= 0; --i) {
    value = value << 8 | static_cast<uint64_t>(bytes[index * width + i]);
  }
  return width == 4 ? static_cast<int32_t>(value) : static_cast<int64_t>(value);
}

// Sign, exponent and fraction fields as IEEE 754 reads them.
float FromFields(bool negative, int exponent, int fraction, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  double magnitude = 0;
  if (exponent == (1 << exponent_bits) - 1) {
    magnitude = fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                              : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, 1 - bias - fraction_bits);
  } else {
    magnitude = std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
  }
  return static_cast<float>(negative ? -magnitude : magnitude);
}

float Real(Bytes bytes, DType dtype, int64_t index) {
  const int exponent_bits = dtype == DType::kF16 ? 5 : 8;
  const int fraction_bits = dtype == DType::kF16 ? 10 : dtype == DType::kBF16 ? 7 : 23;
  const int width = 1 + exponent_bits + fraction_bits;
  const int64_t first = index * width;
  int fraction = 0, exponent = 0;
  for (int i = 0; i < fraction_bits; ++i) fraction |= Bit(bytes, first + i) << i;
  for (int i = 0; i < exponent_bits; ++i) exponent |= Bit(bytes, first + fraction_bits + i) << i;
  return FromFields(Bit(bytes, first + width - 1) != 0, exponent, fraction, exponent_bits,
                    fraction_bits);
}

class Decoder {
 public:
  Decoder(const ConfigModule& module, absl::Span<const PackedView> tensors)
      : module_(module),
        tensors_(tensors),
        bits_(module.spec.levels.bits),
        m_(module.rows),
        n_(module.cols) {
    const Partition& p = module.spec.partition;
    one_scale_ = p.granularity == Granularity::kTensor;
    group_columns_ = p.granularity == Granularity::kGroup ? p.group_size : n_;
    groups_ = n_ / group_columns_ + (n_ % group_columns_ != 0);
  }

  absl::StatusOr<std::vector<float>> CompressedTensors(int64_t begin, int64_t rows);
  absl::StatusOr<std::vector<float>> Gptq(int zero_offset, int64_t begin, int64_t rows);
  absl::StatusOr<std::vector<float>> Plain(int64_t begin, int64_t rows);

 private:
  // The tensor with `suffix`, which must have this dtype and shape.
  absl::StatusOr<Bytes> Find(absl::string_view suffix, DType dtype, const Shape& shape) const {
    const PackedView* const view = Lookup(suffix);
    if (view == nullptr) return Bad(suffix, "is missing");
    if (view->decl.dtype != dtype || view->decl.shape != shape) {
      return Bad(suffix,
                 absl::StrCat("is ", DTypeName(view->decl.dtype), ShapeString(view->decl.shape),
                              ", expected ", DTypeName(dtype), ShapeString(shape)));
    }
    uint64_t bytes = DTypeBytes(dtype);
    for (int64_t d : shape) bytes *= d;
    if (view->bytes.size() != bytes) {
      return Bad(suffix, absl::StrCat("has ", view->bytes.size(), " bytes, expected ", bytes));
    }
    return view->bytes;
  }
  const PackedView* Lookup(absl::string_view suffix) const {
    for (const PackedView& view : tensors_) {
      if (view.decl.suffix == suffix) return &view;
    }
    return nullptr;
  }
  absl::Status Bad(absl::string_view suffix, absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", module_.module, suffix, "': ", what));
  }
  // g_idx, or column / group size where there is none.
  absl::Status LoadGroups(bool stored);

  const ConfigModule& module_;
  const absl::Span<const PackedView> tensors_;
  const int bits_;
  const int64_t m_;
  const int64_t n_;
  bool one_scale_ = false;
  int64_t group_columns_ = 0;
  int64_t groups_ = 0;
  std::vector<int64_t> group_of_;
};

absl::Status Decoder::LoadGroups(bool stored) {
  group_of_.resize(n_);
  if (!stored) {
    for (int64_t k = 0; k < n_; ++k) group_of_[k] = k / group_columns_;
    return absl::OkStatus();
  }
  QUANTD_ASSIGN_OR_RETURN(const Bytes index, Find(".g_idx", DType::kI32, {n_}));
  for (int64_t k = 0; k < n_; ++k) {
    group_of_[k] = Integer(index, k, 4);
    if (group_of_[k] < 0 || group_of_[k] >= groups_) {
      return Bad(".g_idx",
                 absl::StrCat("entry ", k, " is ", group_of_[k], ", expected 0 to ", groups_ - 1));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> Decoder::CompressedTensors(int64_t begin, int64_t rows) {
  const int64_t row_words = (n_ * bits_ + 31) / 32;
  const DType scale_dtype = module_.spec.scale_dtype;
  const bool symmetric = module_.spec.levels.symmetric();
  QUANTD_ASSIGN_OR_RETURN(const Bytes packed, Find(".weight_packed", DType::kI32, {m_, row_words}));
  QUANTD_ASSIGN_OR_RETURN(const Bytes scales, Find(".weight_scale", scale_dtype,
                                                   one_scale_ ? Shape{1} : Shape{m_, groups_}));
  QUANTD_ASSIGN_OR_RETURN(const Bytes shape, Find(".weight_shape", DType::kI64, {2}));
  if (Integer(shape, 0, 8) != m_ || Integer(shape, 1, 8) != n_) {
    return Bad(".weight_shape",
               absl::StrCat("holds [", Integer(shape, 0, 8), ", ", Integer(shape, 1, 8),
                            "], expected ", ShapeString({m_, n_})));
  }
  Bytes zeros;
  if (!symmetric) {
    QUANTD_ASSIGN_OR_RETURN(
        zeros, Find(".weight_zero_point", DType::kI32, {(m_ * bits_ + 31) / 32, groups_}));
  }
  QUANTD_RETURN_IF_ERROR(LoadGroups(/*stored=*/false));
  std::vector<float> out;
  for (int64_t r = begin; r < begin + rows; ++r) {
    for (int64_t k = 0; k < n_; ++k) {
      const int64_t g = group_of_[k];
      // Both code and zero point are stored with 2^(bits-1) added, which cancels.
      const int u = Field(packed, r * row_words * 32 + k * bits_, bits_);
      const int z =
          symmetric ? 1 << (bits_ - 1) : StridedField(zeros, r * bits_, bits_, groups_, g);
      const float s = Real(scales, scale_dtype, one_scale_ ? 0 : r * groups_ + g);
      out.push_back(static_cast<float>(u - z) * s);
    }
  }
  return out;
}

absl::StatusOr<std::vector<float>> Decoder::Gptq(int zero_offset, int64_t begin, int64_t rows) {
  const DType scale_dtype = module_.spec.scale_dtype;
  if (n_ * bits_ % 32 != 0 || m_ * bits_ % 32 != 0) {
    return Bad(".qweight",
               absl::StrCat("a weight of ", ShapeString({m_, n_}), " does not fill whole words"));
  }
  const int64_t row_words = m_ * bits_ / 32;
  QUANTD_ASSIGN_OR_RETURN(const Bytes qweight,
                          Find(".qweight", DType::kI32, {n_ * bits_ / 32, m_}));
  QUANTD_ASSIGN_OR_RETURN(const Bytes qzeros, Find(".qzeros", DType::kI32, {groups_, row_words}));
  QUANTD_ASSIGN_OR_RETURN(const Bytes scales, Find(".scales", scale_dtype, {groups_, m_}));
  QUANTD_RETURN_IF_ERROR(LoadGroups(/*stored=*/true));
  const int mask = (1 << bits_) - 1;
  std::vector<float> out;
  for (int64_t r = begin; r < begin + rows; ++r) {
    for (int64_t k = 0; k < n_; ++k) {
      const int64_t g = group_of_[k];
      const int u = StridedField(qweight, k * bits_, bits_, m_, r);
      const int z = (Field(qzeros, g * row_words * 32 + r * bits_, bits_) + zero_offset) & mask;
      out.push_back(static_cast<float>(u - z) * Real(scales, scale_dtype, g * m_ + r));
    }
  }
  return out;
}

absl::StatusOr<std::vector<float>> Decoder::Plain(int64_t begin, int64_t rows) {
  const int64_t row_bytes = (n_ * bits_ + 7) / 8;
  const DType scale_dtype = module_.spec.scale_dtype;
  const bool symmetric = module_.spec.levels.symmetric();
  const Shape grid = one_scale_ ? Shape{1, 1} : Shape{m_, groups_};
  QUANTD_ASSIGN_OR_RETURN(const Bytes codes, Find(".codes", DType::kU8, {m_, row_bytes}));
  QUANTD_ASSIGN_OR_RETURN(const Bytes scales, Find(".scales", scale_dtype, grid));
  Bytes zeros;
  if (!symmetric) {
    QUANTD_ASSIGN_OR_RETURN(zeros, Find(".zeros", DType::kU8, grid));
  }
  QUANTD_RETURN_IF_ERROR(LoadGroups(Lookup(".g_idx") != nullptr));
  std::vector<float> out;
  for (int64_t r = begin; r < begin + rows; ++r) {
    for (int64_t k = 0; k < n_; ++k) {
      const int64_t at = one_scale_ ? 0 : r * groups_ + group_of_[k];
      const int u = Field(codes, r * row_bytes * 8 + k * bits_, bits_);
      const int z = symmetric ? 1 << (bits_ - 1) : static_cast<int>(zeros[at]);
      out.push_back(static_cast<float>(u - z) * Real(scales, scale_dtype, at));
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<float>> DecodeIndependently(absl::string_view layout,
                                                       const ConfigModule& module,
                                                       absl::Span<const PackedView> tensors,
                                                       int64_t row_begin, int64_t rows) {
  const auto fail = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("module '", module.module, "': ", what));
  };
  const Spec& spec = module.spec;
  if (module.rows < 1 || module.cols < 1 || row_begin < 0 || rows < 0 || row_begin > module.rows ||
      rows > module.rows - row_begin) {
    return fail(absl::StrCat("rows ", row_begin, " + ", rows, " of a weight of ",
                             ShapeString({module.rows, module.cols})));
  }
  if (spec.levels.bits < 2 || spec.levels.bits > 8 || !IsRealDType(spec.scale_dtype) ||
      (spec.partition.granularity == Granularity::kGroup && spec.partition.group_size < 1)) {
    return fail("bits, group_size or scale_dtype out of range");
  }
  Decoder decoder(module, tensors);
  if (layout == "compressed-tensors") return decoder.CompressedTensors(row_begin, rows);
  if (layout == "gptq") return decoder.Gptq(1, row_begin, rows);
  if (layout == "gptq-v2") return decoder.Gptq(0, row_begin, rows);
  if (layout == "plain") return decoder.Plain(row_begin, rows);
  return fail(absl::StrCat("layout '", layout, "' is not known"));
}

}  // namespace quantd
