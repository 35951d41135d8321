#include "workers/fit/residual_refine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/reference/rtn_inputs.h"
#include "tests/reference/shuffled_executor.h"

namespace quantd {
namespace {

constexpr int64_t kM = 60, kN = 96;

// A weight, blocks and centers of one codebook, patches of 2 x 4.
struct Problem {
  Problem() {
    shape.m = kM;
    shape.n = kN;
    shape.out_group = 2;
    shape.in_group = 4;
    shape.codebooks = 1;
    shape.entries = 16;
    w = reference::Gaussian(kM, kN, 1.0f, 1).values;
    centers = reference::Gaussian(16, 8, 1.0f, 2).values;
    code.scales.assign(kM / 2, 1.0f);
    const std::vector<float> a = reference::Gaussian(kN, 4, 1.0f, 3).values;
    hessian.resize(kN * 4);
    for (int64_t j = 0; j < kN / 4; ++j) {
      for (int64_t x = 0; x < 4; ++x) {
        for (int64_t y = 0; y < 4; ++y) {
          for (int64_t k = 0; k < 4; ++k) {
            hessian[(j * 4 + x) * 4 + y] += a[(j * 4 + x) * 4 + k] * a[(j * 4 + y) * 4 + k];
          }
        }
      }
    }
    blocks = DampedBlocks(shape, hessian.data());
    view = {DType::kF32, reinterpret_cast<const std::byte*>(w.data()), kM, kN};
  }

  double At(int64_t i, int64_t j, int64_t x) const {
    return w[(2 * i + x / 4) * kN + j * 4 + x % 4];
  }

  // (w - c) H_jj (w - c)^T, or |w - c|^2.
  double Distance(int64_t i, int64_t j, int64_t c, bool plain) const {
    double sum = 0;
    for (int64_t x = 0; x < 8; ++x) {
      for (int64_t y = x / 4 * 4; y < x / 4 * 4 + 4; ++y) {
        const double h = plain ? x == y : blocks[(j * 4 + x % 4) * 4 + y % 4];
        sum += (At(i, j, x) - centers[c * 8 + x]) * h * (At(i, j, y) - centers[c * 8 + y]);
      }
    }
    return sum;
  }

  int64_t Best(int64_t i, int64_t j, bool plain) const {
    int64_t best = 0;
    for (int64_t c = 1; c < 16; ++c) {
      if (Distance(i, j, c, plain) < Distance(i, j, best, plain)) best = c;
    }
    return best;
  }

  ResidualPoints Points() const { return {shape, view, code, 0}; }
  CenterIndex Index() const { return {centers.data(), 16, 8}; }

  AdditiveShape shape;
  std::vector<float> w, centers, hessian, blocks;
  AdditiveCode code;
  WeightView view;
};

TEST(DampedBlocksTest, OnePercentOfTheMeanDiagonalIsAdded) {
  const Problem problem;
  double mean = 0;
  for (int64_t k = 0; k < kN; ++k) mean += problem.hessian[k * 4 + k % 4];
  mean /= kN;
  for (int64_t k = 0; k < kN; ++k) {
    for (int64_t y = 0; y < 4; ++y) {
      const double expected = problem.hessian[k * 4 + y] + (k % 4 == y ? 0.01 * mean : 0.0);
      EXPECT_NEAR(problem.blocks[k * 4 + y], expected, 1e-5);
    }
  }
  const std::vector<float> zeros(kN * 4, 0.0f);
  const std::vector<float> identity = DampedBlocks(problem.shape, zeros.data());
  for (int64_t k = 0; k < kN; ++k) {
    for (int64_t y = 0; y < 4; ++y) EXPECT_EQ(identity[k * 4 + y], k % 4 == y ? 1.0f : 0.0f);
  }
}

TEST(AssignByBlocksTest, CodesHaveTheLeastWeightedDistance) {
  const Problem problem;
  InlineExecutor executor;
  const CancelToken cancel;
  std::vector<uint16_t> codes(kM / 2 * kN / 4, 99);
  AssignByBlocks(problem.shape, problem.Points(), problem.blocks, problem.Index(), executor, cancel,
                 codes.data());
  int differ = 0;
  for (int64_t i = 0; i < kM / 2; ++i) {
    for (int64_t j = 0; j < kN / 4; ++j) {
      EXPECT_EQ(codes[i * kN / 4 + j], problem.Best(i, j, false));
      differ += problem.Best(i, j, false) != problem.Best(i, j, true) ? 1 : 0;
    }
  }
  EXPECT_GT(differ, 100);
}

TEST(RefineSumsTest, AreTheSumsOverEachCentersPoints) {
  const Problem problem;
  const CancelToken cancel;
  for (const bool plain : {false, true}) {
    std::vector<double> expected(16 * 24, 0.0);
    for (int64_t i = 0; i < kM / 2; ++i) {
      for (int64_t j = 0; j < kN / 4; ++j) {
        double* sum = &expected[problem.Best(i, j, plain) * 24];
        for (int64_t x = 0; x < 16; ++x) sum[x] += problem.blocks[j * 16 + x];
        for (int64_t x = 0; x < 8; ++x) {
          for (int64_t y = x / 4 * 4; y < x / 4 * 4 + 4; ++y) {
            sum[16 + x] += problem.At(i, j, y) * problem.blocks[(j * 4 + y % 4) * 4 + x % 4];
          }
        }
      }
    }
    InlineExecutor executor;
    const std::vector<double> sums = RefineSums(problem.shape, problem.Points(), problem.blocks,
                                                problem.Index(), plain, executor, cancel);
    ASSERT_EQ(sums.size(), expected.size());
    for (size_t k = 0; k < sums.size(); ++k) EXPECT_NEAR(sums[k], expected[k], 1e-3);
    reference::ShuffledExecutor shuffled(3, 4);
    EXPECT_EQ(RefineSums(problem.shape, problem.Points(), problem.blocks, problem.Index(), plain,
                         shuffled, cancel),
              sums);
  }
}

TEST(AdamOnCentersTest, StepsAreOfTheLearningRateAndLowerTheLoss) {
  const Problem problem;
  InlineExecutor executor;
  const CancelToken cancel;
  std::vector<double> sums = RefineSums(problem.shape, problem.Points(), problem.blocks,
                                        problem.Index(), false, executor, cancel);
  std::vector<float> centers = problem.centers;
  AdamOnCenters(problem.shape, sums, executor, cancel, &centers);
  const auto loss = [&](const std::vector<float>& c, int64_t k) {
    double sum = 0;
    for (int64_t x = 0; x < 8; ++x) {
      double product = -2 * sums[k * 24 + 16 + x];
      for (int64_t y = 0; y < 4; ++y) {
        product += sums[k * 24 + x % 4 * 4 + y] * c[k * 8 + x / 4 * 4 + y];
      }
      sum += product * c[k * 8 + x];
    }
    return sum;
  };
  // Far from their best places all centers go there with full steps: the rates' sum is 0.0055.
  for (int64_t k = 0; k < 16; ++k) {
    EXPECT_LT(loss(centers, k), loss(problem.centers, k));
    for (int64_t x = 0; x < 8; ++x) {
      EXPECT_LE(std::abs(centers[k * 8 + x] - problem.centers[k * 8 + x]), 0.0062);
    }
  }
  // The size of H has no say.
  for (double& v : sums) v *= 1e-12;
  std::vector<float> again = problem.centers;
  AdamOnCenters(problem.shape, sums, executor, cancel, &again);
  for (size_t i = 0; i < centers.size(); ++i) EXPECT_NEAR(again[i], centers[i], 1e-7);
}

TEST(AdamOnCentersTest, CentersAtTheirBestOrWithoutPointsStay) {
  const Problem problem;
  InlineExecutor executor;
  const CancelToken cancel;
  std::vector<double> sums(16 * 24, 0.0);
  for (int64_t k = 0; k < 8; ++k) {
    for (int64_t x = 0; x < 4; ++x) sums[k * 24 + x * 5] = 1;
    for (int64_t x = 0; x < 8; ++x) sums[k * 24 + 16 + x] = problem.centers[k * 8 + x];
  }
  std::vector<float> centers = problem.centers;
  AdamOnCenters(problem.shape, sums, executor, cancel, &centers);
  EXPECT_EQ(centers, problem.centers);
}

TEST(RefineSumsTest, ACancelledOneIsEmpty) {
  const Problem problem;
  InlineExecutor executor;
  CancelToken cancel;
  cancel.Cancel();
  EXPECT_TRUE(RefineSums(problem.shape, problem.Points(), problem.blocks, problem.Index(), false,
                         executor, cancel)
                  .empty());
}

}  // namespace
}  // namespace quantd
