#include "workers/fit/residual_refine.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/functional/function_ref.h"
#include "workers/fit/lane_sums.h"
#include "workers/linalg/entry_scan.h"

namespace quantd {
namespace {

// Out groups that are read at a time.
constexpr int64_t kBand = 128;

// In groups whose columns are read together, so that cache lines of the weight are used in full,
// while their norms and counts [in groups, entries] stay small.
int64_t StripWidth(const AdditiveShape& shape) {
  const int64_t fit = std::max<int64_t>((int64_t{1} << 19) / shape.entries, 1);
  const int64_t wide = std::max<int64_t>(64 / shape.in_group, 1);
  return std::min({fit, wide, shape.in_groups()});
}

// norms [entries]: c H_jj c^T.
void BlockNorms(const AdditiveShape& shape, const float* block, const CenterIndex& centers,
                const CancelToken& cancel, float* norms) {
  const int64_t size = shape.in_group, entries = shape.entries;
  std::fill_n(norms, entries, 0.0f);
  for (int64_t a = 0; a < shape.out_group && !cancel.cancelled(); ++a) {
    const float* row = centers.transposed() + a * size * entries;
    for (int64_t x = 0; x < size; ++x) {
      for (int64_t y = 0; y <= x; ++y) {
        const float h = (x == y ? 1.0f : 2.0f) * block[x * size + y];
        const float* u = row + x * entries;
        const float* v = row + y * entries;
        for (int64_t c = 0; c < entries; ++c) norms[c] += h * u[c] * v[c];
      }
    }
  }
}

constexpr int64_t kMaxInGroup = 64;  // spec_fields

// out [rows, size]: points [rows, size] times H_jj. A fixed size keeps a row in registers.
template <int kSize>
void TimesBlock(const float* block, const float* points, int64_t rows, int64_t in_group,
                float* out) {
  const int64_t size = kSize > 0 ? kSize : in_group;
  for (int64_t r = 0; r < rows; ++r) {
    float sum[kSize > 0 ? kSize : kMaxInGroup] = {};
    for (int64_t x = 0; x < size; ++x) {
      const float w = points[r * size + x];
      for (int64_t y = 0; y < size; ++y) sum[y] += w * block[x * size + y];
    }
    std::copy_n(sum, size, out + r * size);
  }
}

// A walk over the points of some in groups: in strips of in groups, and in each strip by bands of
// out groups.
class BlockWalk {
 public:
  BlockWalk(const AdditiveShape& shape, const ResidualPoints& points,
            const std::vector<float>& blocks, const CenterIndex& centers, bool plain,
            const CancelToken& cancel)
      : shape_(shape),
        points_(points),
        blocks_(blocks),
        centers_(centers),
        plain_(plain),
        cancel_(cancel),
        strip_(StripWidth(shape)),
        read_(kBand * strip_ * shape.patch()),
        gathered_(kBand * shape.patch()),
        turned_(kBand * shape.patch()),
        nearest_(kBand),
        score_(kBand) {}

  // See(j, i, count, nearest, turned) for in group j and out groups [i, i + count): their centers
  // and w H_jj [count, patch]. Strip(j, count) after the last band of in groups [j, j + count).
  using See = absl::FunctionRef<void(int64_t, int64_t, int64_t, const int32_t*, const float*)>;
  using Strip = absl::FunctionRef<void(int64_t, int64_t)>;
  void Run(int64_t begin, int64_t end, See see, Strip strip) {
    for (int64_t j = begin; j < end; j += strip_) {
      const int64_t width = std::min(strip_, end - j);
      Norms(j, width);
      for (int64_t i = 0; i < shape_.out_groups(); i += kBand) {
        Band(j, width, i, std::min(kBand, shape_.out_groups() - i), see);
        if (cancel_.cancelled()) return;
      }
      strip(j, width);
    }
  }

  int64_t strip() const { return strip_; }

 private:
  const float* BlockOf(int64_t j) const { return &blocks_[j * shape_.in_group * shape_.in_group]; }

  void Norms(int64_t begin, int64_t width) {
    if (plain_) return;
    norms_.resize(strip_ * shape_.entries);
    for (int64_t j = 0; j < width; ++j) {
      BlockNorms(shape_, BlockOf(begin + j), centers_, cancel_, &norms_[j * shape_.entries]);
    }
  }

  void Band(int64_t begin, int64_t width, int64_t i, int64_t rows, See see) {
    const int64_t patch = shape_.patch();
    for (int64_t r = 0; r < rows; ++r) {
      points_.ReadBand(i + r, begin, width, &read_[r * width * patch]);
    }
    for (int64_t j = 0; j < width; ++j) {
      for (int64_t r = 0; r < rows; ++r) {
        std::copy_n(&read_[(r * width + j) * patch], patch, &gathered_[r * patch]);
      }
      const auto times = shape_.in_group == 8   ? TimesBlock<8>
                         : shape_.in_group == 4 ? TimesBlock<4>
                                                : TimesBlock<0>;
      times(BlockOf(begin + j), gathered_.data(), rows * shape_.out_group, shape_.in_group,
            turned_.data());
      for (int64_t r = 0; r < rows; r += centers_.batch()) {
        if (cancel_.cancelled()) return;
        Scan(j, r, std::min(rows - r, centers_.batch()));
      }
      see(begin + j, i, rows, nearest_.data(), turned_.data());
    }
  }

  void Scan(int64_t j, int64_t r, int64_t count) {
    const int64_t patch = shape_.patch();
    if (plain_) return centers_.Nearest(&gathered_[r * patch], count, &nearest_[r]);
    std::fill_n(&nearest_[r], count, -1);
    ActiveEntryScan().best(centers_.transposed(), &norms_[j * shape_.entries], shape_.entries,
                           patch, &turned_[r * patch], /*s=*/nullptr, count, &nearest_[r],
                           &score_[r]);
  }

  const AdditiveShape& shape_;
  const ResidualPoints& points_;
  const std::vector<float>& blocks_;
  const CenterIndex& centers_;
  const bool plain_;
  const CancelToken& cancel_;
  const int64_t strip_;
  std::vector<float> norms_;     // [strip, entries]
  std::vector<float> read_;      // [band, strip, patch]
  std::vector<float> gathered_;  // [band, patch] of one in group
  std::vector<float> turned_;    // the same times H_jj
  std::vector<int32_t> nearest_;
  std::vector<float> score_;
};

int64_t SumsOfEntry(const AdditiveShape& shape) {
  return shape.in_group * shape.in_group + shape.patch();
}

// One center's part of the loss, up to a constant: sum over the rows of c of (c A - 2 b) c^T.
double CenterLoss(const AdditiveShape& shape, const double* a, const double* b, const double* c) {
  const int64_t size = shape.in_group;
  double loss = 0;
  for (int64_t i = 0; i < shape.patch(); ++i) {
    const double* row = c + i / size * size;
    double product = 0;
    for (int64_t y = 0; y < size; ++y) product += a[i % size * size + y] * row[y];
    loss += (product - 2 * b[i]) * c[i];
  }
  return loss;
}

void AdamOnCenter(const AdditiveShape& shape, const double* sums, float* center) {
  constexpr int kSteps = 100;
  constexpr double kRate = 1e-4, kBeta1 = 0.9, kBeta2 = 0.95;
  const int64_t size = shape.in_group, patch = shape.patch();
  const double* a = sums;
  const double* b = sums + size * size;
  const std::vector<double> start(center, center + patch);
  std::vector<double> c = start, gradient(patch), first(patch, 0.0), second(patch, 0.0);
  double power1 = 1, power2 = 1;
  for (int step = 0; step < kSteps; ++step) {
    power1 *= kBeta1;
    power2 *= kBeta2;
    const double wave = std::cos(std::numbers::pi * step / kSteps);
    const double rate = kRate * (0.1 + 0.45 * (1 + wave));
    for (int64_t i = 0; i < patch; ++i) {
      const double* row = &c[i / size * size];
      double product = -b[i];
      for (int64_t y = 0; y < size; ++y) product += a[i % size * size + y] * row[y];
      gradient[i] = 2 * product;
    }
    for (int64_t i = 0; i < patch; ++i) {
      first[i] = kBeta1 * first[i] + (1 - kBeta1) * gradient[i];
      second[i] = kBeta2 * second[i] + (1 - kBeta2) * gradient[i] * gradient[i];
      // The size of H is arbitrary, so no constant keeps the root from 0.
      const double root = std::sqrt(second[i] / (1 - power2));
      if (root > 0) c[i] -= rate * (first[i] / (1 - power1)) / root;
    }
  }
  for (double& v : c) v = static_cast<float>(v);
  if (!(CenterLoss(shape, a, b, c.data()) < CenterLoss(shape, a, b, start.data()))) return;
  for (int64_t i = 0; i < patch; ++i) center[i] = static_cast<float>(c[i]);
}

}  // namespace

std::vector<float> DampedBlocks(const AdditiveShape& shape, const float* hessian_blocks) {
  const int64_t size = shape.in_group, square = size * size;
  std::vector<float> blocks(shape.in_groups() * square);
  double mean = 0;
  for (int64_t j = 0; j < shape.n; ++j) {
    mean += hessian_blocks[j / size * square + j % size * (size + 1)];
  }
  mean /= static_cast<double>(shape.n);
  const double added = mean > 0 ? 0.01 * mean : 1.0;
  for (int64_t j = 0; j < shape.in_groups(); ++j) {
    const float* from = hessian_blocks + j * square;
    for (int64_t x = 0; x < size; ++x) {
      for (int64_t y = 0; y < size; ++y) {
        const double both = static_cast<double>(from[x * size + y]) + from[y * size + x];
        blocks[j * square + x * size + y] = static_cast<float>(both / 2 + (x == y ? added : 0.0));
      }
    }
  }
  return blocks;
}

std::vector<double> RefineSums(const AdditiveShape& shape, const ResidualPoints& points,
                               const std::vector<float>& blocks, const CenterIndex& centers,
                               bool plain, Executor& executor, const CancelToken& cancel) {
  const int64_t square = shape.in_group * shape.in_group, patch = shape.patch();
  const int64_t stride = SumsOfEntry(shape), numbers = shape.entries * stride;
  const int64_t lanes = SumLanes(shape.in_groups(), numbers);
  const auto fill = [&](int64_t lane, double* sums) {
    BlockWalk walk(shape, points, blocks, centers, plain, cancel);
    // Of each in group of the strip and each entry: H_jj is added once for all of a strip's points.
    std::vector<uint32_t> counts(walk.strip() * shape.entries, 0);
    const auto see = [&](int64_t j, int64_t, int64_t count, const int32_t* nearest,
                         const float* turned) {
      uint32_t* count_of = &counts[j % walk.strip() * shape.entries];
      for (int64_t r = 0; r < count; ++r) {
        ++count_of[nearest[r]];
        double* sum = sums + nearest[r] * stride + square;
        for (int64_t i = 0; i < patch; ++i) sum[i] += turned[r * patch + i];
      }
    };
    const auto strip = [&](int64_t begin, int64_t width) {
      for (int64_t j = begin; j < begin + width; ++j) {
        const float* block = &blocks[j * square];
        for (int64_t c = 0; c < shape.entries; ++c) {
          const double count = counts[j % walk.strip() * shape.entries + c];
          if (count == 0) continue;
          for (int64_t x = 0; x < square; ++x) sums[c * stride + x] += count * block[x];
        }
      }
      std::fill(counts.begin(), counts.end(), 0);
    };
    walk.Run(LaneBegin(shape.in_groups(), lanes, lane),
             LaneBegin(shape.in_groups(), lanes, lane + 1), see, strip);
  };
  std::vector<double> sums = SumInLanes(lanes, numbers, executor, fill);
  if (cancel.cancelled()) sums.clear();
  return sums;
}

void AdamOnCenters(const AdditiveShape& shape, const std::vector<double>& sums, Executor& executor,
                   const CancelToken& cancel, std::vector<float>* centers) {
  constexpr int64_t kRun = 64;
  executor.ParallelFor((shape.entries + kRun - 1) / kRun, [&](int64_t run) {
    for (int64_t c = run * kRun; c < std::min(shape.entries, (run + 1) * kRun); ++c) {
      if (cancel.cancelled()) return;
      AdamOnCenter(shape, &sums[c * SumsOfEntry(shape)], centers->data() + c * shape.patch());
    }
  });
}

void AssignByBlocks(const AdditiveShape& shape, const ResidualPoints& points,
                    const std::vector<float>& blocks, const CenterIndex& centers,
                    Executor& executor, const CancelToken& cancel, uint16_t* codes) {
  const int64_t strip = StripWidth(shape), width = shape.in_groups();
  executor.ParallelFor((width + strip - 1) / strip, [&](int64_t s) {
    BlockWalk walk(shape, points, blocks, centers, /*plain=*/false, cancel);
    const auto see = [&](int64_t j, int64_t i, int64_t count, const int32_t* nearest,
                         const float*) {
      for (int64_t r = 0; r < count; ++r) {
        codes[((i + r) * width + j) * shape.codebooks] = static_cast<uint16_t>(nearest[r]);
      }
    };
    walk.Run(s * strip, std::min(width, (s + 1) * strip), see, [](int64_t, int64_t) {});
  });
}

}  // namespace quantd
