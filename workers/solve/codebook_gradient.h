// The loops that codebook and scale updates are made of: tiles of rows, their error under a code,
// and the sums that bring a tile back to the entries of the codebooks.
//
// Out groups are cut into tiles, and neighbouring tiles into lanes, by the shape alone. A lane is
// one item of parallel work with sums of its own; sums of lanes are joined in their order. So
// results do not depend on threads.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "workers/core/buffer.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/levels/additive.h"
#include "workers/linalg/weight_view.h"
#include "workers/solve/metric.h"

namespace quantd {

// What stays the same while codebooks and scales move.
struct CodebookProblem {
  AdditiveShape shape;
  WeightView weight;
  const Metric* metric = nullptr;
  // Numbers that the scales of one out group come from: 1, in_groups(), or the entries of its
  // table.
  int64_t scale_parameters = 1;
  bool tables = false;

  int64_t scale_numbers() const { return shape.out_groups() * scale_parameters; }
};

// scales [count, scale_columns] = the entries of `tables` [count, scale_parameters] that
// `scale_codes` [count, scale_columns] name.
void ExpandTables(const CodebookProblem& problem, int64_t count, const float* tables,
                  const uint8_t* scale_codes, float* scales);

class CodebookTiles {
 public:
  static constexpr int64_t kMaxLanes = 16;

  CodebookTiles() = default;
  explicit CodebookTiles(const AdditiveShape& shape);

  int64_t lanes() const { return lanes_; }
  int64_t out_groups() const { return out_groups_; }  // of a tile; the last one may have fewer
  int64_t rows() const { return out_groups_ * out_group_; }

  // A run of out groups [first, first + count) of `lane`.
  struct Tile {
    int64_t lane = 0;
    int64_t first = 0;
    int64_t count = 0;
  };
  // Arrays [rows(), n] and one out group [out_group, n], F32, contents unspecified.
  struct Scratch {
    std::vector<Buffer> arrays;
    std::vector<float> rows;

    // Null beyond the last.
    float* array(size_t k) { return k < arrays.size() ? arrays[k].As<float>().data() : nullptr; }
  };

  // fn for every tile, tiles of a lane in order on one thread, with `arrays` arrays at hand. Stops
  // early when cancelled. Errors of the token, RESOURCE_EXHAUSTED without memory.
  absl::Status ForEach(int arrays, Executor& executor, const CancelToken& cancel,
                       const std::function<void(const Tile&, Scratch*)>& fn) const;

  uint64_t ScratchBytes(int arrays) const;

 private:
  int64_t total_ = 0;
  int64_t n_ = 0;
  int64_t out_group_ = 1;
  int64_t out_groups_ = 1;
  int64_t tiles_ = 0;
  int64_t lanes_ = 0;
};

// Sums of one array of doubles over lanes.
class LaneSums {
 public:
  LaneSums(int64_t lanes, int64_t numbers) : sums_(lanes), numbers_(numbers) {}

  // [numbers], 0 at the first call for a lane. Lanes are independent.
  double* lane(int64_t lane);
  // All lanes, in their order, to `out` [numbers].
  void Join(Executor& executor, std::vector<double>* out);

 private:
  std::vector<std::vector<double>> sums_;
  int64_t numbers_;
};

// error [count * out_group, n] = W - s r of a tile, r (`unscaled`, same size) the decoded rows
// before their scales [count, scale_columns]; `row` [n] is workspace.
void DecodeUnscaled(const CodebookProblem& problem, const CodebookTiles::Tile& tile,
                    const float* books, const uint16_t* codes, const CancelToken& cancel,
                    float* unscaled);
void ErrorOf(const CodebookProblem& problem, const CodebookTiles::Tile& tile, const float* unscaled,
             const float* scales, const CancelToken& cancel, float* row, float* error);

// a [count * out_group, n] times H: `a` itself for the identity, else in `room`.
float* TimesMetric(const CodebookProblem& problem, const CodebookTiles::Tile& tile, float* a,
                   float* room, const CancelToken& cancel);

// sums[m][c] += s a_patch for every patch of a tile that uses entry c of codebook m.
void ScatterAdd(const CodebookProblem& problem, const CodebookTiles::Tile& tile, const float* a,
                const uint16_t* codes, const float* scales, const CancelToken& cancel,
                double* sums);

// out[i] = the product of the rows of out group i in a and b, for the out groups of a tile.
void OutGroupDots(const CodebookProblem& problem, const CodebookTiles::Tile& tile, const float* a,
                  const float* b, double* out);

}  // namespace quantd
