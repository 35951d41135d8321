#include "workers/fit/vector_kmeans.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <vector>

#include "tests/reference/rtn_inputs.h"
#include "tests/reference/shuffled_executor.h"
#include "tests/reference/vector_kmeans_reference.h"

namespace quantd {
namespace {

using reference::Points;

constexpr Seeding kSeedings[] = {Seeding::kRandom, Seeding::kPlusPlus, Seeding::kFarthest};

Points GaussianPoints(int64_t count, int64_t dim, uint32_t seed) {
  return Points{dim, reference::Gaussian(count, dim, 1.0f, seed).values};
}

// `clusters` clouds of deviation 0.01 around points 1 or more apart.
Points SeparatedPoints(int64_t count, int64_t clusters, uint32_t seed) {
  Points points = GaussianPoints(count, 3, seed);
  for (int64_t p = 0; p < count; ++p) {
    for (int64_t i = 0; i < 3; ++i) points.values[p * 3 + i] *= 0.01f;
    points.values[p * 3] += static_cast<float>(p * 7 % clusters);
  }
  return points;
}

// Calls fn with a PointSource over `points`.
template <typename Fn>
auto With(const Points& points, Fn fn) {
  const auto read = [&](int64_t begin, int64_t rows, float* out) {
    std::copy_n(&points.values[begin * points.dim], rows * points.dim, out);
  };
  return fn(PointSource{points.count(), points.dim, read});
}

std::vector<float> Seeds(const Points& points, int64_t clusters, Seeding seeding, uint64_t seed) {
  InlineExecutor executor;
  const CancelToken cancel;
  return With(points, [&](const PointSource& source) {
    return SeedCenters(source, clusters, seeding, seed, executor, cancel);
  });
}

bool Step(const Points& points, std::vector<float>* centers) {
  InlineExecutor executor;
  const CancelToken cancel;
  return With(points, [&](const PointSource& source) {
    return LloydStep(source, executor, cancel, centers);
  });
}

std::set<std::vector<float>> Distinct(const std::vector<float>& centers, int64_t dim) {
  std::set<std::vector<float>> all;
  for (size_t c = 0; c < centers.size(); c += dim) {
    all.emplace(centers.begin() + c, centers.begin() + c + dim);
  }
  return all;
}

TEST(LloydStepTest, CentersBecomeTheMeansOfTheirPoints) {
  for (const int64_t dim : {1, 3, 8, 20}) {
    const Points points = GaussianPoints(3001, dim, 1);
    std::vector<float> centers = Seeds(points, 17, Seeding::kRandom, 2);
    for (int i = 0; i < 3; ++i) {
      const std::vector<double> means = reference::Means(points, centers);
      EXPECT_TRUE(Step(points, &centers));
      for (size_t k = 0; k < means.size(); ++k) EXPECT_NEAR(centers[k], means[k], 1e-5);
    }
  }
}

TEST(LloydStepTest, TheObjectiveNeverRisesAndEndsWhereNothingMoves) {
  const Points points = GaussianPoints(2000, 4, 3);
  for (const Seeding seeding : kSeedings) {
    std::vector<float> centers = Seeds(points, 24, seeding, 4);
    double before = reference::Objective(points, centers);
    const double start = before;
    int steps = 0;
    for (bool moved = true; moved; ++steps) {
      ASSERT_LT(steps, 300);
      moved = Step(points, &centers);
      const double after = reference::Objective(points, centers);
      EXPECT_LE(after, before * (1 + 1e-6));
      before = after;
    }
    EXPECT_LT(before, 0.95 * start);
    const std::vector<double> means = reference::Means(points, centers);
    for (size_t k = 0; k < means.size(); ++k) EXPECT_NEAR(centers[k], means[k], 1e-5);
  }
}

TEST(LloydStepTest, AnEmptyClusterStaysAndTiesGoToTheLowestIndex) {
  const Points points{1, {0, 1, 2, 3}};
  std::vector<float> centers = {1.5f, 1.5f, 100.0f};
  EXPECT_FALSE(Step(points, &centers));
  EXPECT_EQ(centers, (std::vector<float>{1.5f, 1.5f, 100.0f}));
  centers = {4.0f, 0.0f};  // 2 is as far from both
  EXPECT_TRUE(Step(points, &centers));
  EXPECT_EQ(centers, (std::vector<float>{2.5f, 0.5f}));
}

TEST(LloydStepTest, ThreadsDoNotChangeABit) {
  const Points points = GaussianPoints(9000, 8, 5);
  const CancelToken cancel;
  InlineExecutor inline_executor;
  for (const int width : {2, 5}) {
    reference::ShuffledExecutor shuffled(width, 6);
    for (const Seeding seeding : kSeedings) {
      With(points, [&](const PointSource& source) {
        std::vector<float> a = SeedCenters(source, 200, seeding, 7, inline_executor, cancel);
        std::vector<float> b = SeedCenters(source, 200, seeding, 7, shuffled, cancel);
        EXPECT_EQ(a, b);
        for (int i = 0; i < 3; ++i) {
          LloydStep(source, inline_executor, cancel, &a);
          LloydStep(source, shuffled, cancel, &b);
          EXPECT_EQ(a, b);
        }
      });
    }
  }
}

TEST(LloydStepTest, ACancelledStepLeavesTheCenters) {
  const Points points = GaussianPoints(500, 8, 8);
  const std::vector<float> seeds = Seeds(points, 16, Seeding::kRandom, 9);
  std::vector<float> centers = seeds;
  CancelToken cancel;
  InlineExecutor executor;
  int reads = 0;
  const auto read = [&](int64_t begin, int64_t rows, float* out) {
    std::copy_n(&points.values[begin * 8], rows * 8, out);
    if (++reads == 3) cancel.Cancel();
  };
  EXPECT_FALSE(LloydStep(PointSource{500, 8, read}, executor, cancel, &centers));
  EXPECT_EQ(reads, 3);
  EXPECT_EQ(centers, seeds);
}

TEST(NearestCentersTest, AreThoseOfTheReference) {
  for (const int64_t dim : {1, 5, 8, 16}) {
    const Points points = GaussianPoints(400, dim, 10);
    const std::vector<float> centers = reference::Gaussian(300, dim, 1.0f, 11).values;
    std::vector<uint16_t> nearest(400);
    NearestCenters(points.values.data(), 400, dim, centers, nearest.data());
    const std::vector<int> expected = reference::Nearest(points, centers);
    for (int p = 0; p < 400; ++p) EXPECT_EQ(nearest[p], expected[p]);
  }
}

TEST(NearestCentersTest, SquaresBeyondFloatStillNameACenter) {
  const std::vector<float> points = {3e38f, -3e38f}, centers = {2e38f, 1e38f, 0, 0};
  std::vector<uint16_t> nearest(1, 99);
  NearestCenters(points.data(), 1, 2, centers, nearest.data());
  EXPECT_LT(nearest[0], 2);
}

TEST(SeedCentersTest, AreDistinctPoints) {
  const Points points = GaussianPoints(300, 2, 12);
  const std::set<std::vector<float>> all = Distinct(points.values, 2);
  for (const Seeding seeding : kSeedings) {
    for (const int64_t clusters : {1, 7, 256, 300}) {
      const std::vector<float> seeds = Seeds(points, clusters, seeding, 13);
      ASSERT_EQ(static_cast<int64_t>(seeds.size()), 2 * clusters);
      const std::set<std::vector<float>> distinct = Distinct(seeds, 2);
      EXPECT_EQ(static_cast<int64_t>(distinct.size()), clusters);
      EXPECT_TRUE(std::includes(all.begin(), all.end(), distinct.begin(), distinct.end()));
    }
  }
}

TEST(SeedCentersTest, DistinctPointsAreFoundAmongCopies) {
  Points points{2, {}};
  for (int i = 0; i < 1000; ++i) {
    // Nine of ten are zeros of either sign.
    const float value = i % 10 == 0 ? static_cast<float>(i / 10 % 20) : i % 2 == 0 ? 0.0f : -0.0f;
    points.values.insert(points.values.end(), {value, 0.0f});
  }
  for (const Seeding seeding : kSeedings) {
    EXPECT_EQ(Distinct(Seeds(points, 20, seeding, 14), 2).size(), 20u);
  }
}

TEST(SeedCentersTest, EqualPointsRepeatWhereThereAreFewerDistinctOnes) {
  const Points points{2, {1, 2, 3, 4, 1, 2, 3, 4, 1, 2}};
  for (const Seeding seeding : kSeedings) {
    const std::vector<float> seeds = Seeds(points, 4, seeding, 15);
    ASSERT_EQ(seeds.size(), 8u);
    EXPECT_EQ(Distinct(seeds, 2), (std::set<std::vector<float>>{{1, 2}, {3, 4}}));
  }
  const Points zeros{2, std::vector<float>(10, 0.0f)};
  for (const Seeding seeding : kSeedings) {
    EXPECT_EQ(Seeds(zeros, 5, seeding, 15), std::vector<float>(10, 0.0f));
  }
}

TEST(SeedCentersTest, SeedsDecide) {
  const Points points = GaussianPoints(300, 2, 16);
  for (const Seeding seeding : kSeedings) {
    EXPECT_EQ(Seeds(points, 9, seeding, 17), Seeds(points, 9, seeding, 17));
    EXPECT_NE(Seeds(points, 9, seeding, 17), Seeds(points, 9, seeding, 18));
  }
}

TEST(SeedCentersTest, PlusPlusAndFarthestHitEverySeparatedCluster) {
  const Points points = SeparatedPoints(5000, 30, 19);
  for (const Seeding seeding : {Seeding::kPlusPlus, Seeding::kFarthest}) {
    const std::vector<float> seeds = Seeds(points, 30, seeding, 20);
    std::set<int> hit;
    for (int c = 0; c < 30; ++c) hit.insert(static_cast<int>(std::lround(seeds[c * 3])));
    EXPECT_EQ(hit.size(), 30u);
  }
}

TEST(SeedCentersTest, FarthestIsTheFarthestFromThoseBefore) {
  const Points points = GaussianPoints(700, 4, 21);
  const std::vector<float> seeds = Seeds(points, 12, Seeding::kFarthest, 22);
  for (size_t c = 1; c < 12; ++c) {
    double far = 0;
    const std::vector<float> before(seeds.begin(), seeds.begin() + c * 4);
    for (int64_t p = 0; p < 700; ++p) {
      const Points one{4, {points.values.begin() + p * 4, points.values.begin() + p * 4 + 4}};
      far = std::max(far, reference::Objective(one, before));
    }
    const Points next{4, {seeds.begin() + c * 4, seeds.begin() + c * 4 + 4}};
    EXPECT_NEAR(reference::Objective(next, before), far, 1e-5 * far);
  }
}

TEST(SeedCentersTest, PlusPlusDrawsBySquaredDistance) {
  // From 0, the point at 1 has 1 chance in 5 and that at 2 has 4.
  const Points points{1, {0, 0, 0, 0, 1, 2}};
  int draws = 0, far = 0;
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    const std::vector<float> seeds = Seeds(points, 2, Seeding::kPlusPlus, seed);
    if (seeds[0] != 0) continue;
    ++draws;
    far += seeds[1] == 2 ? 1 : 0;
  }
  EXPECT_GT(draws, 2400);
  EXPECT_NEAR(static_cast<double>(far) / draws, 0.8, 0.03);
}

TEST(SeedCentersTest, ManyPointsAreSampled) {
  // 2^19 / 64 = 8192 of them are looked at; the one far away is most likely not among them.
  constexpr int64_t kCount = 200000;
  std::atomic<int64_t> read{0};
  const auto source = [&](int64_t begin, int64_t rows, float* out) {
    read += rows;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < 64; ++i) out[r * 64 + i] = static_cast<float>((begin + r) * i % 1009);
    }
  };
  InlineExecutor executor;
  const CancelToken cancel;
  const std::vector<float> seeds =
      SeedCenters(PointSource{kCount, 64, source}, 16, Seeding::kPlusPlus, 23, executor, cancel);
  EXPECT_EQ(read, (1 << 19) / 64);
  EXPECT_EQ(Distinct(seeds, 64).size(), 16u);
}

TEST(SeedCentersTest, PlusPlusStartsBetterThanRandom) {
  const Points points = SeparatedPoints(3000, 25, 24);
  EXPECT_LT(reference::Objective(points, Seeds(points, 25, Seeding::kPlusPlus, 25)),
            0.1 * reference::Objective(points, Seeds(points, 25, Seeding::kRandom, 25)));
}

TEST(SeedCentersTest, ACancelledOneEnds) {
  CancelToken cancel;
  cancel.Cancel();
  InlineExecutor executor;
  const Points points = GaussianPoints(300, 2, 26);
  for (const Seeding seeding : kSeedings) {
    With(points, [&](const PointSource& source) {
      EXPECT_EQ(SeedCenters(source, 9, seeding, 1, executor, cancel).size(), 18u);
    });
  }
}

}  // namespace
}  // namespace quantd
