#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "workers/fit/sampling.h"
#include "workers/fit/vector_kmeans.h"

namespace quantd {
namespace {

// Numbers [0, count) in a random order, drawn one by one: Fisher and Yates' shuffle, of which only
// the places that were touched are kept.
class LazyShuffle {
 public:
  LazyShuffle(int64_t count, uint64_t seed) : count_(count), random_(seed) {}

  int64_t Next() {
    const int64_t at = next_ + static_cast<int64_t>(random_.Below(count_ - next_));
    const int64_t drawn = Held(at);
    held_[at] = Held(next_++);
    return drawn;
  }

 private:
  int64_t Held(int64_t place) const {
    const auto found = held_.find(place);
    return found == held_.end() ? place : found->second;
  }

  int64_t count_, next_ = 0;
  SplitMix64 random_;
  std::unordered_map<int64_t, int64_t> held_;
};

std::vector<float> RandomCenters(const PointSource& points, int64_t clusters, uint64_t seed,
                                 const CancelToken& cancel) {
  const int64_t dim = points.dim;
  constexpr int64_t kDraws = 64;
  const int64_t draws = clusters > points.count / kDraws ? points.count : clusters * kDraws;
  LazyShuffle order(points.count, seed);
  std::vector<float> centers, point(dim);
  centers.reserve(clusters * dim);
  std::unordered_set<std::string> seen;
  for (int64_t d = 0; d < draws && static_cast<int64_t>(seen.size()) < clusters; ++d) {
    if (d % 1024 == 0 && cancel.cancelled()) break;
    points.read(order.Next(), 1, point.data());
    for (float& v : point) v += 0.0f;  // both zeros are one
    const bool fresh =
        seen.emplace(reinterpret_cast<const char*>(point.data()), dim * sizeof(float)).second;
    if (fresh) centers.insert(centers.end(), point.begin(), point.end());
  }
  // Fewer distinct points than clusters: those found, over and over.
  const size_t found = centers.size();
  centers.resize(clusters * dim, 0.0f);
  for (size_t i = found; found > 0 && i < centers.size(); ++i) centers[i] = centers[i - found];
  return centers;
}

// Said in so many words, because the compiler picks the wrong loop to make into vector code.
typedef float Quad __attribute__((vector_size(16)));

// A sample of points and the squared distance of each to the nearest center so far.
class Distances {
 public:
  Distances(const PointSource& points, int64_t clusters, uint64_t seed, Executor& executor,
            const CancelToken& cancel)
      : executor_(executor), cancel_(cancel), dim_(points.dim) {
    constexpr int64_t kNumbers = int64_t{1} << 19;
    count_ = std::min(points.count, std::max(kNumbers / dim_, 4 * clusters));
    blocks_ = (count_ + kBlock - 1) / kBlock;
    const int64_t padded = (count_ + kLanes - 1) / kLanes * kLanes;
    points_.assign(padded * dim_, 0.0f);
    // Places beyond the last point keep the distance 0 and are never chosen.
    nearest_.assign(padded, 0.0f);
    std::fill_n(nearest_.begin(), count_, std::numeric_limits<float>::infinity());
    sum_.resize(blocks_);
    most_.resize(blocks_);
    std::vector<int64_t> sample;
    if (count_ < points.count) sample = SampleInOrder(points.count, count_, seed, cancel);
    if (!cancel.cancelled()) Read(points, sample);
  }

  int64_t count() const { return count_; }

  // Point `at` as a center [dim].
  void Append(int64_t at, std::vector<float>* centers) const {
    const float* chunk = &points_[at / kLanes * kLanes * dim_];
    for (int64_t i = 0; i < dim_; ++i) centers->push_back(chunk[i * kLanes + at % kLanes]);
  }

  // Takes note of a new center [dim].
  void Add(const float* center) {
    executor_.ParallelFor(blocks_, [&](int64_t b) {
      if (!cancel_.cancelled()) AddToBlock(b, center);
    });
  }

  // Point to take so that each has a chance in proportion to its distance, for `unit` in [0, 1);
  // -1 where all distances are 0.
  int64_t ByDistance(double unit) const {
    double total = 0;
    for (const double sum : sum_) total += sum;
    double left = unit * total;
    int64_t block = -1;
    for (int64_t b = 0; b < blocks_; ++b) {
      if (sum_[b] > 0) block = b;
      if (left < sum_[b]) break;
      left -= sum_[b];
    }
    if (block < 0) return -1;
    int64_t last = -1;
    for (int64_t at = block * kBlock; at < block * kBlock + RowsOf(block); ++at) {
      if (!(nearest_[at] > 0)) continue;
      last = at;
      if (left < nearest_[at]) break;
      left -= nearest_[at];
    }
    return last;
  }

  // The point with the largest distance, the first of several; -1 where all are 0.
  int64_t Farthest() const {
    const int64_t block = std::max_element(most_.begin(), most_.end()) - most_.begin();
    if (!(most_[block] > 0)) return -1;
    const float* begin = &nearest_[block * kBlock];
    return block * kBlock + (std::find(begin, begin + RowsOf(block), most_[block]) - begin);
  }

 private:
  static constexpr int64_t kBlock = 4096;
  static constexpr int64_t kLanes = 16;  // points of a chunk, which lies as [dim, lanes]

  int64_t RowsOf(int64_t block) const { return std::min(kBlock, count_ - block * kBlock); }

  void Read(const PointSource& points, const std::vector<int64_t>& sample) {
    executor_.ParallelFor(blocks_, [&](int64_t b) {
      const int64_t rows = RowsOf(b);
      std::vector<float> read(rows * dim_);
      if (sample.empty()) {
        points.read(b * kBlock, rows, read.data());
      } else {
        for (int64_t r = 0; r < rows && !cancel_.cancelled(); ++r) {
          points.read(sample[b * kBlock + r], 1, &read[r * dim_]);
        }
      }
      for (int64_t r = 0; r < rows; ++r) {
        float* chunk = &points_[(b * kBlock + r / kLanes * kLanes) * dim_];
        for (int64_t i = 0; i < dim_; ++i) chunk[i * kLanes + r % kLanes] = read[r * dim_ + i];
      }
    });
  }

  void AddToBlock(int64_t b, const float* center) {
    const int64_t end = b * kBlock + RowsOf(b);
    constexpr int64_t kQuads = kLanes / 4;
    double sum[kLanes] = {};
    Quad most[kQuads] = {};
    for (int64_t p = b * kBlock; p < end; p += kLanes) {
      Quad chunk[kQuads], distance[kQuads] = {}, nearest[kQuads];
      for (int64_t i = 0; i < dim_; ++i) {
        std::memcpy(chunk, &points_[p * dim_ + i * kLanes], sizeof chunk);
        for (int64_t k = 0; k < kQuads; ++k) {
          const Quad step = chunk[k] - center[i];
          distance[k] += step * step;
        }
      }
      std::memcpy(nearest, &nearest_[p], sizeof nearest);
      for (int64_t k = 0; k < kQuads; ++k) {
        nearest[k] = distance[k] < nearest[k] ? distance[k] : nearest[k];
        most[k] = nearest[k] > most[k] ? nearest[k] : most[k];
      }
      std::memcpy(&nearest_[p], nearest, sizeof nearest);
      for (int64_t k = 0; k < kLanes; ++k) sum[k] += nearest_[p + k];
    }
    sum_[b] = 0;
    for (const double s : sum) sum_[b] += s;
    most_[b] = 0;
    for (int64_t k = 0; k < kLanes; ++k) most_[b] = std::max(most_[b], most[k / 4][k % 4]);
  }

  Executor& executor_;
  const CancelToken& cancel_;
  int64_t dim_, count_ = 0, blocks_ = 0;
  std::vector<float> points_;   // [chunks, dim, lanes]
  std::vector<float> nearest_;  // [chunks, lanes]
  std::vector<double> sum_;     // [blocks] of distances
  std::vector<float> most_;     // [blocks] the largest distance
};

}  // namespace

std::vector<float> SeedCenters(const PointSource& points, int64_t clusters, Seeding seeding,
                               uint64_t seed, Executor& executor, const CancelToken& cancel) {
  SplitMix64 random(seed);
  if (seeding != Seeding::kPlusPlus && seeding != Seeding::kFarthest) {
    return RandomCenters(points, clusters, random.Next(), cancel);
  }
  Distances distances(points, clusters, random.Next(), executor, cancel);
  std::vector<float> centers;
  centers.reserve(clusters * points.dim);
  int64_t next = static_cast<int64_t>(random.Below(distances.count()));
  for (int64_t c = 0; c < clusters && !cancel.cancelled(); ++c) {
    distances.Append(next, &centers);
    if (c + 1 == clusters) break;
    distances.Add(&centers[c * points.dim]);
    next =
        seeding == Seeding::kFarthest ? distances.Farthest() : distances.ByDistance(random.Unit());
    // Every point is a center already.
    if (next < 0) next = static_cast<int64_t>(random.Below(distances.count()));
  }
  centers.resize(clusters * points.dim, 0.0f);
  return centers;
}

}  // namespace quantd
