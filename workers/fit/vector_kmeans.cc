#include "workers/fit/vector_kmeans.h"

#include <algorithm>
#include <cmath>

#include "workers/fit/lane_sums.h"
#include "workers/linalg/entry_scan.h"

namespace quantd {
namespace {

// sums [clusters, dim + 1]: of the points of each cluster, and their count in the last place.
void AddToSums(const float* points, const int32_t* nearest, int64_t rows, int64_t dim,
               double* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* point = points + r * dim;
    double* sum = sums + nearest[r] * (dim + 1);
    for (int64_t i = 0; i < dim; ++i) sum[i] += point[i];
    sum[dim] += 1.0;
  }
}

// Moves the centers to their means.
bool MoveCenters(const std::vector<double>& sums, int64_t dim, std::vector<float>* centers) {
  const int64_t clusters = static_cast<int64_t>(centers->size()) / dim;
  bool moved = false;
  for (int64_t c = 0; c < clusters; ++c) {
    const double* sum = &sums[c * (dim + 1)];
    if (sum[dim] == 0) continue;
    for (int64_t i = 0; i < dim; ++i) {
      float& center = (*centers)[c * dim + i];
      const float mean = static_cast<float>(sum[i] / sum[dim]);
      const double step = std::abs(static_cast<double>(mean) - center);
      moved = moved || step > 1e-8 + 1e-6 * std::abs(center);
      center = mean;
    }
  }
  return moved;
}

}  // namespace

CenterIndex::CenterIndex(const float* centers, int64_t clusters, int64_t dim)
    : clusters_(clusters), dim_(dim), transposed_(clusters * dim), norms_(clusters) {
  for (int64_t c = 0; c < clusters; ++c) {
    double norm = 0;
    for (int64_t i = 0; i < dim; ++i) {
      const float value = centers[c * dim + i];
      transposed_[i * clusters + c] = value;
      norm += static_cast<double>(value) * value;
    }
    norms_[c] = static_cast<float>(norm);
  }
}

void CenterIndex::Nearest(const float* points, int64_t rows, int32_t* nearest) const {
  static const EntryScanKernels& kernels = ActiveEntryScan();
  constexpr int64_t kRows = 128;
  float score[kRows];
  for (int64_t begin = 0; begin < rows; begin += kRows) {
    const int64_t count = std::min(kRows, rows - begin);
    std::fill_n(nearest + begin, count, -1);
    kernels.best(transposed_.data(), norms_.data(), clusters_, dim_, points + begin * dim_,
                 /*s=*/nullptr, count, nearest + begin, score);
  }
}

int64_t CenterIndex::batch() const {
  constexpr int64_t kProducts = int64_t{1} << 27;  // some 10 ms
  constexpr int64_t kNumbers = int64_t{1} << 14;   // 64 KiB of points
  return std::clamp<int64_t>(std::min(kProducts / (clusters_ * dim_), kNumbers / dim_), 1, 1024);
}

bool LloydStep(const PointSource& points, Executor& executor, const CancelToken& cancel,
               std::vector<float>* centers) {
  const int64_t dim = points.dim;
  const CenterIndex index(centers->data(), static_cast<int64_t>(centers->size()) / dim, dim);
  const int64_t numbers = index.clusters() * (dim + 1);
  const int64_t lanes = SumLanes(points.count, numbers);
  const auto fill = [&](int64_t lane, double* sums) {
    const int64_t end = LaneBegin(points.count, lanes, lane + 1);
    std::vector<float> batch(index.batch() * dim);
    std::vector<int32_t> nearest(index.batch());
    for (int64_t p = LaneBegin(points.count, lanes, lane); p < end; p += index.batch()) {
      if (cancel.cancelled()) return;
      const int64_t rows = std::min(index.batch(), end - p);
      points.read(p, rows, batch.data());
      index.Nearest(batch.data(), rows, nearest.data());
      AddToSums(batch.data(), nearest.data(), rows, dim, sums);
    }
  };
  const std::vector<double> sums = SumInLanes(lanes, numbers, executor, fill);
  return !cancel.cancelled() && MoveCenters(sums, dim, centers);
}

void NearestCenters(const float* points, int64_t rows, int64_t dim,
                    const std::vector<float>& centers, uint16_t* nearest) {
  const CenterIndex index(centers.data(), static_cast<int64_t>(centers.size()) / dim, dim);
  std::vector<int32_t> found(rows);
  index.Nearest(points, rows, found.data());
  for (int64_t r = 0; r < rows; ++r) nearest[r] = static_cast<uint16_t>(found[r]);
}

}  // namespace quantd
