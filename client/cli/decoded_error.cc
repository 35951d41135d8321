#include "client/cli/decoded_error.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "workers/core/float16.h"

namespace quantd::cli {
namespace {

float Element(DType dtype, const std::byte* bytes, size_t i) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, bytes + 4 * i, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, bytes + 2 * i, 2);
  return dtype == DType::kF16 ? FromF16(bits) : FromBF16(bits);
}

}  // namespace

void DecodedError::Add(DType dtype, absl::Span<const std::byte> source,
                       absl::Span<const float> decoded) {
  for (size_t i = 0; i < decoded.size(); ++i) {
    const double w = Element(dtype, source.data(), i);
    const double d = decoded[i];
    if (!std::isfinite(d)) finite_ = false;
    source_square_ += w * w;
    decoded_square_ += d * d;
    product_ += w * d;
    error_square_ += (w - d) * (w - d);
    max_error_ = std::max(max_error_, std::abs(w - d));
  }
  count_ += decoded.size();
}

ErrorMeasures DecodedError::Finish() const {
  ErrorMeasures m;
  if (count_ == 0) return m;
  m.weight_mse = error_square_ / static_cast<double>(count_);
  m.max_abs_error = max_error_;
  if (source_square_ > 0) {
    m.weight_relative_error = error_square_ / source_square_;
    m.sqnr_db =
        error_square_ > 0 ? 10.0 * std::log10(source_square_ / error_square_) : kExactSqnrDb;
  }
  const double norms = std::sqrt(source_square_) * std::sqrt(decoded_square_);
  m.cosine = norms > 0 ? product_ / norms : (source_square_ == decoded_square_ ? 1.0 : 0.0);
  return m;
}

}  // namespace quantd::cli
