#include "client/files/independent_decoder.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/files/fold.h"
#include "client/files/independent_fields.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

using independent::Bytes;
using independent::Field;
using independent::Integer;
using independent::Real;
using independent::StridedField;
using independent::Tensors;

// Affine integers in groups along rows.
class Decoder {
 public:
  explicit Decoder(const Tensors& tensors)
      : tensors_(tensors),
        spec_(tensors.module().spec),
        bits_(spec_.levels.bits),
        m_(tensors.rows()),
        n_(tensors.cols()) {
    const Partition& p = spec_.partition;
    one_scale_ = p.granularity == Granularity::kTensor;
    group_columns_ = p.granularity == Granularity::kGroup ? p.group_size : n_;
    groups_ = n_ / group_columns_ + (n_ % group_columns_ != 0);
  }

  absl::StatusOr<std::vector<float>> CompressedTensors(int64_t begin, int64_t rows);
  absl::StatusOr<std::vector<float>> Gptq(int zero_offset, int64_t begin, int64_t rows);

 private:
  absl::StatusOr<Bytes> Find(absl::string_view suffix, DType dtype, const Shape& shape) const {
    return tensors_.Find(suffix, dtype, shape);
  }
  absl::Status Bad(absl::string_view suffix, absl::string_view what) const {
    return tensors_.Bad(suffix, what);
  }
  // g_idx, or column / group size where there is none.
  absl::Status LoadGroups(bool stored);

  const Tensors& tensors_;
  const Spec& spec_;
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
  const DType scale_dtype = spec_.storage.dtype();
  const bool symmetric = spec_.levels.symmetric();
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
  const DType scale_dtype = spec_.storage.dtype();
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

// w = (what the code stands for) / s, where a column scale is stored with the layer.
absl::Status UndoColumnScale(const Tensors& tensors, std::vector<float>* values) {
  if (tensors.Lookup(kColumnScaleSuffix) == nullptr) return absl::OkStatus();
  QUANTD_ASSIGN_OR_RETURN(const Bytes scale,
                          tensors.Find(kColumnScaleSuffix, DType::kF32, {tensors.cols()}));
  for (size_t i = 0; i < values->size(); ++i) {
    (*values)[i] /= Real(scale, DType::kF32, static_cast<int64_t>(i) % tensors.cols());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> Dispatch(absl::string_view layout, const Tensors& tensors,
                                            int64_t begin, int64_t rows) {
  if (layout == "compressed-tensors") return Decoder(tensors).CompressedTensors(begin, rows);
  if (layout == "gptq") return Decoder(tensors).Gptq(1, begin, rows);
  if (layout == "gptq-v2") return Decoder(tensors).Gptq(0, begin, rows);
  if (layout == "int-quantized") return independent::DecodeInt8(tensors, begin, rows);
  if (layout == "float-quantized") return independent::DecodeFloat8(tensors, begin, rows);
  if (layout == "nvfp4-pack-quantized") return independent::DecodeNvFp4(tensors, begin, rows);
  if (layout == "mxfp4-pack-quantized") return independent::DecodeMxFp(tensors, true, begin, rows);
  if (layout == "mxfp8-quantized") return independent::DecodeMxFp(tensors, false, begin, rows);
  if (layout == "bitsandbytes") return independent::DecodeBitsAndBytes(tensors, begin, rows);
  if (layout == "spqr") return independent::DecodeSpqr(tensors, begin, rows);
  if (layout == "aqlm") return independent::DecodeAqlm(tensors, begin, rows);
  if (layout == "plain") return independent::DecodePlain(tensors, begin, rows);
  return absl::InvalidArgumentError(
      absl::StrCat("module '", tensors.module().module, "': layout '", layout, "' is not known"));
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
  // Additive levels have counts of their own, which their decoder checks.
  const bool bits_fit = spec.levels.additive() || (spec.levels.bits >= 2 && spec.levels.bits <= 8);
  if (!bits_fit ||
      (spec.partition.granularity == Granularity::kGroup && spec.partition.group_size < 1)) {
    return fail("bits or group_size out of range");
  }
  const Tensors named(module, tensors);
  QUANTD_ASSIGN_OR_RETURN(std::vector<float> values, Dispatch(layout, named, row_begin, rows));
  QUANTD_RETURN_IF_ERROR(UndoColumnScale(named, &values));
  return values;
}

}  // namespace quantd
