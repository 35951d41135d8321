#include "workers/solve/rtn.h"

#include <algorithm>

#include "workers/exceptions/half.h"
#include "workers/exceptions/mask.h"
#include "workers/levels/affine.h"
#include "workers/levels/binary_coding.h"
#include "workers/levels/cluster.h"
#include "workers/levels/decode.h"
#include "workers/levels/lane_table.h"
#include "workers/levels/level_table.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

// Rounds the rows of a stripe with the parameters that it holds. Parameters of a row are laid out
// once for all rows of its groups.
class RowRounder {
 public:
  RowRounder(Coded* io, RtnScratch* scratch)
      : io_(io),
        s_(scratch),
        n_(io->cols),
        scattered_(io->shared != nullptr && !io->shared->group_of_column.empty()),
        side_by_side_(io->levels.affine() && !io->levels.real_zero() && !scattered_ &&
                      io->group_columns > 1) {
    const int64_t lanes = side_by_side_ ? io->groups : n_;
    s_->scale.resize(lanes);
    s_->inverse.resize(lanes);
    s_->zero.resize(lanes);
    s_->decoded.resize(n_);
  }

  void Round(int64_t row, const float* w) {
    if (row / io_->group_rows != params_) {
      params_ = row / io_->group_rows;
      LayOut();
    }
    uint8_t* codes = io_->codes.data() + row * n_;
    switch (io_->levels.kind) {
      case LevelKind::kUnspecified:
      case LevelKind::kAffineInt:
        return RoundAffine(w, codes);
      case LevelKind::kMinifloat:
      case LevelKind::kFixedTable:
        return RoundTableLanes(TableOf(io_->levels), w, n_, s_->scale.data(), s_->inverse.data(),
                               codes, s_->decoded.data());
      case LevelKind::kCluster:
        return RoundClusters(w, n_, s_->scale.data(), codes, s_->decoded.data());
      case LevelKind::kLearnedTable:
        return RoundTables(w, codes);
      case LevelKind::kBinaryCoding:
        return RoundBinary(w, codes);
      case LevelKind::kAdditive:
        return;  // patches, not weights: see beam_search.h
    }
  }

 private:
  int64_t values() const { return int64_t{1} << io_->levels.bits; }

  // The parameters of grid row params_, one lane for each column (or for each group where the row
  // kernel wants them so).
  void LayOut() {
    const int64_t first = params_ * io_->groups;
    if (io_->levels.kind == LevelKind::kBinaryCoding) SortGroups(first);
    if (!io_->levels.scaled()) return;
    if (side_by_side_ || (io_->group_columns == 1 && !scattered_)) {
      CopyParams(first);
    } else {
      ForEachGroup([&](int64_t g, int64_t begin, int64_t end) { Spread(first + g, begin, end); });
    }
    for (size_t i = 0; i < s_->scale.size(); ++i) s_->inverse[i] = 1.0f / s_->scale[i];
  }

  // A grid row as it is: one lane for each group.
  void CopyParams(int64_t first) {
    std::copy_n(io_->scales.data() + first, io_->groups, s_->scale.data());
    if (!io_->levels.affine()) return;
    if (io_->levels.real_zero()) {
      std::copy_n(io_->real_zeros.data() + first, io_->groups, s_->zero.data());
      return;
    }
    const uint8_t* zeros = io_->zeros.data() + first;
    for (int64_t g = 0; g < io_->groups; ++g) s_->zero[g] = static_cast<float>(zeros[g]);
  }

  // Entry `param` of the grid into lanes [begin, end).
  void Spread(int64_t param, int64_t begin, int64_t end) {
    std::fill(s_->scale.begin() + begin, s_->scale.begin() + end, io_->scales[param]);
    if (!io_->levels.affine()) return;
    const float zero =
        io_->levels.real_zero() ? io_->real_zeros[param] : static_cast<float>(io_->zeros[param]);
    std::fill(s_->zero.begin() + begin, s_->zero.begin() + end, zero);
  }

  void SortGroups(int64_t first) {
    s_->sorted.resize(io_->groups * values());
    s_->order.resize(io_->groups * values());
    const int64_t numbers = io_->levels.table_numbers();
    for (int64_t g = 0; g < io_->groups; ++g) {
      SortBinary(io_->tables.data() + (first + g) * numbers, io_->levels.bits,
                 s_->sorted.data() + g * values(), s_->order.data() + g * values());
    }
  }

  void RoundAffine(const float* w, uint8_t* codes) {
    if (side_by_side_) {
      ActiveRowKernels().round(w, n_, io_->group_columns, s_->inverse.data(), s_->zero.data(),
                               static_cast<float>(io_->levels.max_code()), codes);
      return;
    }
    ForEqualBits([&](int64_t begin, int64_t end, int bits) {
      Levels levels = io_->levels;
      levels.bits = bits;
      if (!levels.real_zero()) {
        ActiveRowKernels().round_columns(w + begin, end - begin, s_->inverse.data() + begin,
                                         s_->zero.data() + begin,
                                         static_cast<float>(levels.max_code()), codes + begin);
        return;
      }
      RoundRealZeroLanes(levels, w + begin, end - begin, s_->scale.data() + begin,
                         s_->inverse.data() + begin, s_->zero.data() + begin, codes + begin,
                         s_->decoded.data());
    });
  }

  void RoundTables(const float* w, uint8_t* codes) {
    float* decoded = s_->decoded.data();
    if (io_->granularity == Granularity::kTensor) {
      RoundOneTable(io_->shared->table.data(), static_cast<int>(values()), w, n_, codes, decoded);
      return;
    }
    const float* tables = io_->tables.data() + params_ * io_->groups * values();
    if (io_->group_columns == 1 && !scattered_) {
      ForEqualBits([&](int64_t begin, int64_t end, int bits) {
        RoundLaneTables(tables + begin * values(), values(), 1 << bits, w + begin, end - begin,
                        codes + begin, decoded);
      });
      return;
    }
    ForEachGroup([&](int64_t g, int64_t begin, int64_t end) {
      RoundOneTable(tables + g * values(), static_cast<int>(values()), w + begin, end - begin,
                    codes + begin, decoded);
    });
  }

  void RoundBinary(const float* w, uint8_t* codes) {
    float* decoded = s_->decoded.data();
    if (io_->group_columns == 1 && !scattered_) {
      RoundBinaryLanes(s_->sorted.data(), s_->order.data(), values(), io_->levels.bits, w, n_,
                       codes, decoded);
      return;
    }
    ForEachGroup([&](int64_t g, int64_t begin, int64_t end) {
      RoundOneBinary(s_->sorted.data() + g * values(), s_->order.data() + g * values(),
                     io_->levels.bits, w + begin, end - begin, codes + begin, decoded);
    });
  }

  // fn(begin, end, bits) for runs of columns whose codes have as many bits.
  template <typename Fn>
  void ForEqualBits(const Fn& fn) {
    if (io_->shared == nullptr || io_->shared->column_bits.empty()) {
      fn(0, n_, io_->levels.bits);
      return;
    }
    const std::vector<uint8_t>& bits = io_->shared->column_bits;
    for (int64_t begin = 0; begin < n_;) {
      int64_t end = begin + 1;
      while (end < n_ && bits[end] == bits[begin]) ++end;
      fn(begin, end, bits[begin]);
      begin = end;
    }
  }

  template <typename Fn>
  void ForEachGroup(const Fn& fn) {
    int64_t group = 0;
    for (int64_t begin = 0; begin < n_;) {
      const int64_t end = scattered_ ? begin + 1 : std::min(n_, begin + io_->group_columns);
      fn(scattered_ ? io_->GroupOf(begin) : group, begin, end);
      begin = end;
      ++group;
    }
  }

  Coded* io_;
  RtnScratch* s_;
  const int64_t n_;
  const bool scattered_;
  const bool side_by_side_;  // groups of neighbours that the row kernel rounds
  int64_t params_ = -1;      // grid row that is laid out
};

// The row without its masked weights.
const float* Masked(const Spec& spec, const RounderInputs& inputs, int64_t row, const float* w,
                    int64_t n, RtnScratch* s) {
  const uint8_t* mask = inputs.mask == nullptr ? nullptr : inputs.mask + row * n;
  if (mask == nullptr) {
    s->mask.resize(n);
    MaskRows(spec.exceptions, w, 1, n, inputs.fit.diagonal, s->mask.data());
    mask = s->mask.data();
  }
  s->weight.resize(n);
  for (int64_t j = 0; j < n; ++j) s->weight[j] = mask[j] != 0 ? 0.0f : w[j];
  return s->weight.data();
}

// What lies beside the code of row `row`, whose codes are final; `w` is what they were made from.
void KeepRow(int64_t row, const float* w, Coded* io, RtnScratch* s) {
  if (io->shared != nullptr) {
    const std::vector<int32_t>& columns = io->shared->kept_columns;
    float* kept = io->kept.data() + row * static_cast<int64_t>(columns.size());
    for (size_t k = 0; k < columns.size(); ++k) kept[k] = AsHalf(w[columns[k]]);
  }
  OutlierTable& table = io->outliers;
  if (table.begin.empty() || table.begin[row] == table.begin[row + 1]) return;
  // Their values are still 0, so this is what they will be added to.
  DecodeRow(*io, row, s->decoded.data());
  for (int32_t k = table.begin[row]; k < table.begin[row + 1]; ++k) {
    const int32_t c = table.column[k];
    table.value[k] = AsHalf(w[c] - s->decoded[c]);
  }
}

}  // namespace

void RoundRows(const Spec& spec, const float* w, const RounderInputs& inputs, Coded* io,
               RtnScratch* scratch) {
  const int64_t n = io->cols, recent = RecentBegin(spec, inputs, *io);
  if (inputs.chosen != nullptr) {
    if (inputs.chosen != &io->outliers) io->outliers = *inputs.chosen;
    io->outliers.value.assign(io->outliers.column.size(), 0.0f);
  }
  if (io->shared != nullptr) {
    io->kept.resize(io->rows * static_cast<int64_t>(io->shared->kept_columns.size()));
  }
  io->recent.clear();
  RowRounder rounder(io, scratch);
  for (int64_t r = 0; r < io->rows; ++r) {
    const float* row = w + r * n;
    if (spec.exceptions.mask_of > 0) row = Masked(spec, inputs, r, row, n, scratch);
    rounder.Round(r, row);
    KeepRow(r, row, io, scratch);
  }
  io->recent.resize((io->rows - recent) * n);
  for (size_t i = 0; i < io->recent.size(); ++i) io->recent[i] = AsHalf(w[recent * n + i]);
}

void AddColumnErrors(const float* w, const Coded& coded, RtnScratch* scratch, double* sums) {
  const int64_t n = coded.cols;
  scratch->decoded.resize(n);
  for (int64_t r = 0; r < coded.rows; ++r) {
    DecodeRow(coded, r, scratch->decoded.data());
    for (int64_t j = 0; j < n; ++j) {
      const double d = static_cast<double>(w[r * n + j]) - scratch->decoded[j];
      sums[j] += d * d;
    }
  }
}

}  // namespace quantd
