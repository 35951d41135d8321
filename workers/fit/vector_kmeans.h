// k-means over vectors of a few numbers: Lloyd's iteration with a named start.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/spec.h"

namespace quantd {

// A set of points [count, dim] that need not lie in memory as a whole.
struct PointSource {
  int64_t count = 0;
  int64_t dim = 0;
  // Points [begin, begin + rows) to out [rows, dim], F32. Called from several threads.
  absl::FunctionRef<void(int64_t begin, int64_t rows, float* out)> read;
};

// Centers [clusters, dim] laid out for linalg/entry_scan.h. Read-only after construction.
class CenterIndex {
 public:
  CenterIndex(const float* centers, int64_t clusters, int64_t dim);

  int64_t clusters() const { return clusters_; }
  int64_t dim() const { return dim_; }
  const float* transposed() const { return transposed_.data(); }  // [dim, clusters]
  const float* norms() const { return norms_.data(); }            // [clusters] |c|^2

  // nearest [rows]: for points [rows, dim] the center with the least |c|^2 - 2 x c; ties: the
  // lowest index.
  void Nearest(const float* points, int64_t rows, int32_t* nearest) const;

  // Points that one call of Nearest should bring: few enough to be cached and to poll a token
  // between calls.
  int64_t batch() const;

 private:
  int64_t clusters_, dim_;
  std::vector<float> transposed_, norms_;
};

// Seeding::kRandom: `clusters` distinct points at random (AQLM's own). kPlusPlus: each next one
// with probability proportional to its squared distance to the nearest so far (Arthur &
// Vassilvitskii 2007). kFarthest: each next one is the point farthest from those so far. Returns
// [clusters, dim]; equal points may repeat where there are fewer distinct ones. Requires clusters
// <= points.count. `seed` and the points decide the result, threads do not. Returns early when
// cancelled.
//
// The last two look at a random sample of the points, so that a pass over them for each center
// costs little: at most 2^19 / dim points, or 4 for each center where that is more. kRandom gives
// up looking for distinct points after 64 draws for each center.
std::vector<float> SeedCenters(const PointSource& points, int64_t clusters, Seeding seeding,
                               uint64_t seed, Executor& executor, const CancelToken& cancel);

// One Lloyd iteration: every point goes to its nearest center (ties: the lowest index), every
// center to the mean of its points; an empty one stays. Sums in double, in an order that threads do
// not change. Returns true if the centers moved by more than 1e-8 + 1e-6 |c| in any number. When
// cancelled it leaves the centers as they are and returns false.
bool LloydStep(const PointSource& points, Executor& executor, const CancelToken& cancel,
               std::vector<float>* centers);

// nearest [rows]: the nearest of `centers` [clusters, dim] for points [rows, dim]. clusters <=
// 65536. For more than one call with the same centers CenterIndex is faster.
void NearestCenters(const float* points, int64_t rows, int64_t dim,
                    const std::vector<float>& centers, uint16_t* nearest);

}  // namespace quantd
