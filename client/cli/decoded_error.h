// Errors of a decoded weight against its source, in plain double sums: verify's own measure, apart
// from the server's.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "workers/core/dtype.h"
#include "workers/core/report.h"

namespace quantd::cli {

// Feed rows in any order, then Finish().
class DecodedError {
 public:
  // `source` holds the elements as `dtype` (F32, F16, BF16), little-endian, no alignment needed;
  // `decoded` the same number of floats.
  void Add(DType dtype, absl::Span<const std::byte> source, absl::Span<const float> decoded);

  // weight_mse, weight_relative_error, sqnr_db, max_abs_error and cosine as report.h defines them.
  ErrorMeasures Finish() const;
  bool finite() const { return finite_; }  // every decoded value is

 private:
  double source_square_ = 0;
  double decoded_square_ = 0;
  double product_ = 0;
  double error_square_ = 0;
  double max_error_ = 0;
  uint64_t count_ = 0;
  bool finite_ = true;
};

}  // namespace quantd::cli
