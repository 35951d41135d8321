#include "workers/levels/decode.h"

#include <algorithm>

#include "workers/levels/additive.h"
#include "workers/levels/binary_coding.h"
#include "workers/levels/level_table.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

constexpr int64_t kBlock = 256;

// One row's codes and the first entry of its parameters in the grid.
struct RowView {
  const Coded& coded;
  const uint8_t* codes;
  int64_t params;

  RowView(const Coded& c, int64_t row)
      : coded(c), codes(c.codes.data() + row * c.cols), params(row / c.group_rows * c.groups) {}

  bool scattered() const {
    return coded.shared != nullptr && !coded.shared->group_of_column.empty();
  }
  // Each column has parameters of its own.
  bool per_column() const { return !scattered() && coded.group_columns == 1; }
};

// Calls run(group, begin, end) for each group of neighbours, or for each column where g_idx
// scatters them.
template <typename Run>
void ForEachGroup(const RowView& row, const Run& run) {
  const int64_t n = row.coded.cols;
  if (row.scattered()) {
    const int32_t* group = row.coded.shared->group_of_column.data();
    for (int64_t j = 0; j < n; ++j) run(group[j], j, j + 1);
    return;
  }
  const int64_t g = row.coded.group_columns;
  for (int64_t k = 0, begin = 0; begin < n; ++k, begin += g) {
    run(k, begin, std::min(n, begin + g));
  }
}

void DecodeIntegerZeros(const RowView& row, float* out) {
  const Coded& coded = row.coded;
  const float* scales = coded.scales.data() + row.params;
  const uint8_t* zeros = coded.zeros.data() + row.params;
  if (row.per_column()) {
    ActiveRowKernels().decode_lanes(row.codes, coded.cols, scales, zeros, out);
  } else if (row.scattered()) {
    const int32_t* group = coded.shared->group_of_column.data();
    for (int64_t j = 0; j < coded.cols; ++j) {
      const int32_t g = group[j];
      out[j] = static_cast<float>(row.codes[j] - zeros[g]) * scales[g];
    }
  } else {
    for (int64_t k = 0; k < coded.groups; k += kBlock) {
      const int64_t count = std::min(kBlock, coded.groups - k);
      float zero[kBlock];
      std::copy(zeros + k, zeros + k + count, zero);
      const int64_t begin = k * coded.group_columns;
      const int64_t end = std::min(coded.cols, (k + count) * coded.group_columns);
      ActiveRowKernels().decode(row.codes + begin, end - begin, coded.group_columns, scales + k,
                                zero, out + begin);
    }
  }
}

void DecodeRealZeros(const RowView& row, float* out) {
  const Coded& coded = row.coded;
  const float* scales = coded.scales.data() + row.params;
  const float* zeros = coded.real_zeros.data() + row.params;
  if (row.per_column()) {
    ActiveRowKernels().decode_real_lanes(row.codes, coded.cols, scales, zeros, out);
  } else if (row.scattered()) {
    const int32_t* group = coded.shared->group_of_column.data();
    for (int64_t j = 0; j < coded.cols; ++j) {
      const int32_t g = group[j];
      out[j] = (static_cast<float>(row.codes[j]) - zeros[g]) * scales[g];
    }
  } else {
    ActiveRowKernels().decode_real(row.codes, coded.cols, coded.group_columns, scales, zeros, out);
  }
}

void DecodeScaledTable(const RowView& row, float* __restrict out) {
  const float* value = TableOf(row.coded.levels).value.data();
  const float* scales = row.coded.scales.data() + row.params;
  const uint8_t* codes = row.codes;
  if (row.per_column()) {
    for (int64_t j = 0; j < row.coded.cols; ++j) out[j] = value[codes[j]] * scales[j];
    return;
  }
  ForEachGroup(row, [&](int64_t group, int64_t begin, int64_t end) {
    const float scale = scales[group];
    for (int64_t j = begin; j < end; ++j) out[j] = value[codes[j]] * scale;
  });
}

void DecodeLearnedTable(const RowView& row, float* __restrict out) {
  const Coded& coded = row.coded;
  const uint8_t* codes = row.codes;
  if (coded.tables.empty()) {
    const float* table = coded.shared->table.data();
    for (int64_t j = 0; j < coded.cols; ++j) out[j] = table[codes[j]];
    return;
  }
  const int64_t size = coded.levels.table_numbers();
  const float* tables = coded.tables.data() + row.params * size;
  if (row.per_column()) {
    for (int64_t j = 0; j < coded.cols; ++j) out[j] = tables[j * size + codes[j]];
    return;
  }
  ForEachGroup(row, [&](int64_t group, int64_t begin, int64_t end) {
    const float* table = tables + group * size;
    for (int64_t j = begin; j < end; ++j) out[j] = table[codes[j]];
  });
}

void DecodeBinaryCoding(const RowView& row, float* __restrict out) {
  const int bits = row.coded.levels.bits;
  const int64_t size = row.coded.levels.table_numbers();
  const float* tables = row.coded.tables.data() + row.params * size;
  const uint8_t* codes = row.codes;
  ForEachGroup(row, [&](int64_t group, int64_t begin, int64_t end) {
    const float* params = tables + group * size;
    // Short groups have fewer weights than values.
    if (end - begin < 1 << bits) {
      for (int64_t j = begin; j < end; ++j) out[j] = BinaryValue(params, bits, codes[j]);
      return;
    }
    float values[256];
    ExpandBinary(params, bits, values);
    for (int64_t j = begin; j < end; ++j) out[j] = values[codes[j]];
  });
}

void DecodeCodes(const Coded& coded, int64_t row_index, float* out) {
  const RowView row(coded, row_index);
  switch (coded.levels.kind) {
    case LevelKind::kUnspecified:
    case LevelKind::kAffineInt:
      return coded.levels.real_zero() ? DecodeRealZeros(row, out) : DecodeIntegerZeros(row, out);
    case LevelKind::kMinifloat:
    case LevelKind::kFixedTable:
    case LevelKind::kCluster:
      return DecodeScaledTable(row, out);
    case LevelKind::kLearnedTable:
      return DecodeLearnedTable(row, out);
    case LevelKind::kBinaryCoding:
      return DecodeBinaryCoding(row, out);
    case LevelKind::kAdditive:
      return DecodeAdditiveRow(coded, row_index, out);
  }
}

void ApplyExceptions(const Coded& coded, int64_t row, float* out) {
  if (coded.shared != nullptr && !coded.shared->kept_columns.empty()) {
    const auto& columns = coded.shared->kept_columns;
    const float* kept = coded.kept.data() + row * static_cast<int64_t>(columns.size());
    for (size_t k = 0; k < columns.size(); ++k) out[columns[k]] = kept[k];
  }
  if (!coded.outliers.begin.empty()) {
    const int32_t end = coded.outliers.begin[row + 1];
    for (int32_t k = coded.outliers.begin[row]; k < end; ++k) {
      out[coded.outliers.column[k]] += coded.outliers.value[k];
    }
  }
}

}  // namespace

void DecodeRow(const Coded& coded, int64_t row, float* out) {
  const int64_t recent = static_cast<int64_t>(coded.recent.size()) / coded.cols;
  if (row >= coded.rows - recent) {
    const float* values = coded.recent.data() + (row - (coded.rows - recent)) * coded.cols;
    std::copy(values, values + coded.cols, out);
    return;
  }
  DecodeCodes(coded, row, out);
  ApplyExceptions(coded, row, out);
}

void Decode(const Coded& coded, float* out) {
  for (int64_t r = 0; r < coded.rows; ++r) DecodeRow(coded, r, out + r * coded.cols);
}

}  // namespace quantd
