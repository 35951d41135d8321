#include "workers/solve/codebook_gradient.h"

#include <algorithm>
#include <utility>

#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/linalg/dot.h"

namespace quantd {
namespace {

// A product with fewer rows spends its time on packing H; with more it gains little.
constexpr int64_t kMostRows = 256;
constexpr int64_t kLeastRows = 64;
constexpr int64_t kMostTileBytes = int64_t{16} << 20;
constexpr int64_t kMostSumBytes = int64_t{64} << 20;
constexpr int64_t kJoinBlock = int64_t{1} << 15;
constexpr int64_t kMostPatch = 64 * 64;

// kColumns: in_group where it is known beforehand and a patch is one row, else 0.
template <int64_t kColumns>
void ScatterRow(const AdditiveShape& shape, const float* a, const uint16_t* codes,
                const float* scales, double* sums) {
  const int64_t columns = kColumns > 0 ? kColumns : shape.in_group;
  const int64_t rows = kColumns > 0 ? 1 : shape.out_group;
  const int64_t patch = rows * columns;
  const int64_t book = shape.entries * patch;
  double scaled[kColumns > 0 ? kColumns : kMostPatch];
  for (int64_t j = 0; j < shape.in_groups(); ++j) {
    const double s = scales[shape.scale_columns == 1 ? 0 : j];
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = a + r * shape.n + j * columns;
      for (int64_t k = 0; k < columns; ++k) scaled[r * columns + k] = s * from[k];
    }
    for (int64_t m = 0; m < shape.codebooks; ++m) {
      double* to = sums + m * book + codes[j * shape.codebooks + m] * patch;
      for (int64_t k = 0; k < patch; ++k) to[k] += scaled[k];
    }
  }
}

}  // namespace

void ExpandTables(const CodebookProblem& problem, int64_t count, const float* tables,
                  const uint8_t* scale_codes, float* scales) {
  const int64_t columns = problem.shape.scale_columns;
  for (int64_t i = 0; i < count; ++i) {
    const float* table = tables + i * problem.scale_parameters;
    for (int64_t j = 0; j < columns; ++j) {
      scales[i * columns + j] = table[scale_codes[i * columns + j]];
    }
  }
}

CodebookTiles::CodebookTiles(const AdditiveShape& shape)
    : total_(shape.out_groups()), n_(shape.n), out_group_(shape.out_group) {
  const int64_t row_bytes = n_ * static_cast<int64_t>(sizeof(float));
  const int64_t most = std::clamp(kMostTileBytes / row_bytes, kLeastRows, kMostRows);
  // Eight tiles at least where the rows suffice, so that small weights use more than one thread.
  const int64_t rows = std::clamp(CeilDiv(shape.m, 8), kLeastRows, most);
  out_groups_ = std::max<int64_t>(1, rows / out_group_);
  tiles_ = CeilDiv(total_, out_groups_);
  const int64_t sum_bytes = shape.book_numbers() * static_cast<int64_t>(sizeof(double));
  const int64_t room = std::max(kMostSumBytes, shape.m * row_bytes);
  lanes_ = std::min({kMaxLanes, tiles_, std::max<int64_t>(1, room / sum_bytes)});
}

absl::Status CodebookTiles::ForEach(int arrays, Executor& executor, const CancelToken& cancel,
                                    const std::function<void(const Tile&, Scratch*)>& fn) const {
  std::vector<absl::Status> status(lanes_);
  executor.ParallelFor(lanes_, [&](int64_t lane) {
    if (cancel.cancelled()) return;
    Scratch scratch;
    scratch.rows.resize(out_group_ * n_);
    for (int k = 0; k < arrays; ++k) {
      absl::StatusOr<Buffer> buffer = Buffer::AllocateUnfilled(rows() * n_ * sizeof(float));
      if (!buffer.ok()) {
        status[lane] = buffer.status();
        return;
      }
      scratch.arrays.push_back(*std::move(buffer));
    }
    for (int64_t t = lane * tiles_ / lanes_; t < (lane + 1) * tiles_ / lanes_; ++t) {
      if (cancel.cancelled()) return;
      const int64_t first = t * out_groups_;
      fn({lane, first, std::min(out_groups_, total_ - first)}, &scratch);
    }
  });
  QUANTD_RETURN_IF_ERROR(cancel.Check());
  for (const absl::Status& s : status) QUANTD_RETURN_IF_ERROR(s);
  return absl::OkStatus();
}

uint64_t CodebookTiles::ScratchBytes(int arrays) const {
  return (rows() * arrays + out_group_) * n_ * sizeof(float);
}

double* LaneSums::lane(int64_t lane) {
  if (sums_[lane].empty()) sums_[lane].resize(numbers_);
  return sums_[lane].data();
}

void LaneSums::Join(Executor& executor, std::vector<double>* out) {
  out->resize(numbers_);
  executor.ParallelFor(CeilDiv(numbers_, kJoinBlock), [&](int64_t block) {
    const int64_t begin = block * kJoinBlock, end = std::min(begin + kJoinBlock, numbers_);
    double* to = out->data();
    std::fill(to + begin, to + end, 0.0);
    for (const std::vector<double>& sums : sums_) {
      if (sums.empty()) continue;
      for (int64_t k = begin; k < end; ++k) to[k] += sums[k];
    }
  });
}

void DecodeUnscaled(const CodebookProblem& problem, const CodebookTiles::Tile& tile,
                    const float* books, const uint16_t* codes, const CancelToken& cancel,
                    float* unscaled) {
  AdditiveShape plain = problem.shape;
  plain.scale_columns = 1;
  const float one = 1.0f;
  const int64_t code_count = plain.in_groups() * plain.codebooks;
  for (int64_t i = 0; i < tile.count && !cancel.cancelled(); ++i) {
    DecodeOutGroup(plain, books, codes + (tile.first + i) * code_count, &one,
                   unscaled + i * plain.out_group * plain.n);
  }
}

void ErrorOf(const CodebookProblem& problem, const CodebookTiles::Tile& tile, const float* unscaled,
             const float* scales, const CancelToken& cancel, float* row, float* error) {
  const AdditiveShape& shape = problem.shape;
  const int64_t n = shape.n;
  for (int64_t k = 0; k < tile.count * shape.out_group && !cancel.cancelled(); ++k) {
    problem.weight.ReadRows(tile.first * shape.out_group + k, 1, row);
    const float* r = unscaled + k * n;
    float* e = error + k * n;
    const float* s = scales + k / shape.out_group * shape.scale_columns;
    if (shape.scale_columns == 1) {
      const float scale = s[0];
      for (int64_t c = 0; c < n; ++c) e[c] = row[c] - scale * r[c];
      continue;
    }
    for (int64_t j = 0; j < shape.in_groups(); ++j) {
      const int64_t begin = j * shape.in_group;
      for (int64_t c = begin; c < begin + shape.in_group; ++c) e[c] = row[c] - s[j] * r[c];
    }
  }
}

float* TimesMetric(const CodebookProblem& problem, const CodebookTiles::Tile& tile, float* a,
                   float* room, const CancelToken& cancel) {
  if (problem.metric->identity()) return a;
  problem.metric->Multiply(a, tile.count * problem.shape.out_group, room, cancel);
  return room;
}

void ScatterAdd(const CodebookProblem& problem, const CodebookTiles::Tile& tile, const float* a,
                const uint16_t* codes, const float* scales, const CancelToken& cancel,
                double* sums) {
  const AdditiveShape& shape = problem.shape;
  const int64_t code_count = shape.in_groups() * shape.codebooks;
  const auto scatter = shape.out_group != 1   ? ScatterRow<0>
                       : shape.in_group == 4  ? ScatterRow<4>
                       : shape.in_group == 8  ? ScatterRow<8>
                       : shape.in_group == 16 ? ScatterRow<16>
                                              : ScatterRow<0>;
  for (int64_t i = 0; i < tile.count && !cancel.cancelled(); ++i) {
    scatter(shape, a + i * shape.out_group * shape.n, codes + (tile.first + i) * code_count,
            scales + i * shape.scale_columns, sums);
  }
}

void OutGroupDots(const CodebookProblem& problem, const CodebookTiles::Tile& tile, const float* a,
                  const float* b, double* out) {
  const int64_t numbers = problem.shape.out_group * problem.shape.n;
  for (int64_t i = 0; i < tile.count; ++i) {
    out[i] = DotInDouble(a + i * numbers, b + i * numbers, numbers);
  }
}

}  // namespace quantd
