#include "workers/measure/error_accumulator.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

int64_t CountScattered(const Coded& coded, const float* w, const float* inverse,
                       const float* zero) {
  const float max_code = static_cast<float>(coded.levels.max_code());
  int64_t clipped = 0;
  for (int64_t j = 0; j < coded.cols; ++j) {
    const int32_t g = coded.group_of_column[j];
    const float x = w[j] * inverse[g];
    clipped += x < -zero[g] - 0.5f || x > (max_code - zero[g]) + 0.5f;
  }
  return clipped;
}

int64_t CountClipped(const Coded& coded, int64_t row, const float* w) {
  thread_local std::vector<float> inverse, zero;
  inverse.resize(coded.groups);
  zero.resize(coded.groups);
  for (int64_t g = 0; g < coded.groups; ++g) {
    inverse[g] = 1.0f / coded.scales[row * coded.groups + g];
    zero[g] = static_cast<float>(coded.zeros[row * coded.groups + g]);
  }
  if (!coded.group_of_column.empty()) return CountScattered(coded, w, inverse.data(), zero.data());
  return ActiveRowKernels().count_clipped(w, coded.cols, coded.group_columns, inverse.data(),
                                          zero.data(), static_cast<float>(coded.levels.max_code()));
}

double Ratio(double part, double whole) { return whole > 0 ? part / whole : 0.0; }

}  // namespace

void ErrorAccumulator::AddRows(const float* w, const float* decoded, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r) {
    PairSums sums;
    ActiveRowKernels().pair_sums(w + r * cols, decoded + r * cols, cols, &sums);
    weight_ += sums.weight;
    decoded_ += sums.decoded;
    cross_ += sums.cross;
    error_ += sums.error;
    max_error_ = std::max(max_error_, sums.max_error);
  }
}

void ErrorAccumulator::AddCodedRow(const Coded& coded, int64_t row, const float* w,
                                   const float* decoded) {
  AddRows(w, decoded, 1, coded.cols);
  clipped_ += CountClipped(coded, row, w);
}

void ErrorAccumulator::AddCoded(const Coded& coded, const float* w, const float* decoded) {
  for (int64_t r = 0; r < coded.rows; ++r) {
    AddCodedRow(coded, r, w + r * coded.cols, decoded + r * coded.cols);
  }
}

void ErrorAccumulator::Merge(const ErrorAccumulator& next) {
  weight_ += next.weight_;
  decoded_ += next.decoded_;
  cross_ += next.cross_;
  error_ += next.error_;
  max_error_ = std::max(max_error_, next.max_error_);
  clipped_ += next.clipped_;
}

ErrorMeasures ErrorAccumulator::Finish(int64_t m, int64_t n) const {
  const double count = static_cast<double>(m) * static_cast<double>(n);
  ErrorMeasures measures;
  measures.weight_mse = Ratio(error_, count);
  measures.weight_relative_error = Ratio(error_, weight_);
  if (weight_ > 0) {
    measures.sqnr_db = error_ > 0 ? 10.0 * std::log10(weight_ / error_) : kExactSqnrDb;
  }
  measures.max_abs_error = max_error_;
  if (weight_ > 0 && decoded_ > 0) {
    measures.cosine = cross_ / (std::sqrt(weight_) * std::sqrt(decoded_));
  } else {
    measures.cosine = weight_ == 0 && decoded_ == 0 ? 1.0 : 0.0;
  }
  measures.clipped_share = Ratio(static_cast<double>(clipped_), count);
  return measures;
}

}  // namespace quantd
