#include "workers/planner/least_squares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace quantd {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;

TEST(LeastSquaresTest, ALineHasTheTextbooksCoefficientsAndErrors) {
  // Mean of x 1.5, sum of its squares around it 5; residuals 0.04, -0.12, 0.12, -0.04.
  const LeastSquares line = SolveLeastSquares({{1, 1, 1, 1}, {0, 1, 2, 3}}, {0.6, 1.2, 2.2, 2.8});
  EXPECT_THAT(line.coefficients, ElementsAre(DoubleNear(0.56, 1e-14), DoubleNear(0.76, 1e-14)));
  const double variance = line.squares / 2;
  EXPECT_NEAR(line.squares, 0.04 * 0.04 + 0.12 * 0.12 + 0.12 * 0.12 + 0.04 * 0.04, 1e-14);
  EXPECT_THAT(line.errors, ElementsAre(DoubleNear(std::sqrt(variance * (0.25 + 2.25 / 5)), 1e-14),
                                       DoubleNear(std::sqrt(variance / 5), 1e-14)));
}

TEST(LeastSquaresTest, ResidualsAreAtRightAnglesToTheColumns) {
  std::mt19937 rng(1);
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> columns(4, std::vector<double>(25));
  std::vector<double> values(25);
  for (std::vector<double>& column : columns) {
    for (double& x : column) x = normal(rng);
  }
  for (double& y : values) y = normal(rng);
  const LeastSquares solved = SolveLeastSquares(columns, values);
  std::vector<double> residual = values;
  double squares = 0;
  for (int i = 0; i < 25; ++i) {
    for (int j = 0; j < 4; ++j) residual[i] -= solved.coefficients[j] * columns[j][i];
    squares += residual[i] * residual[i];
  }
  EXPECT_NEAR(solved.squares, squares, 1e-12);
  for (const std::vector<double>& column : columns) {
    double dot = 0;
    for (int i = 0; i < 25; ++i) dot += column[i] * residual[i];
    EXPECT_NEAR(dot, 0, 1e-12);
  }
}

TEST(LeastSquaresTest, NoFreedomLeavesNoErrors) {
  const LeastSquares exact = SolveLeastSquares({{1, 1}, {0, 2}}, {3, 7});
  EXPECT_THAT(exact.coefficients, ElementsAre(DoubleNear(3, 1e-14), DoubleNear(2, 1e-14)));
  EXPECT_THAT(exact.errors, ElementsAre(0, 0));
  EXPECT_EQ(exact.squares, 0);
}

TEST(LeastSquaresTest, NamesTheColumnThatFollowsFromTheOthers) {
  const std::vector<double> ones = {1, 1, 1, 1}, x = {1, 2, 4, 8}, both = {3, 5, 9, 17};
  const std::vector<double> y = {1, 2, 3, 4};
  EXPECT_EQ(SolveLeastSquares({ones, x}, y).dependent, -1);
  EXPECT_EQ(SolveLeastSquares({ones, x, both}, y).dependent, 2);
  EXPECT_EQ(SolveLeastSquares({ones, ones, x}, y).dependent, 1);
  EXPECT_EQ(SolveLeastSquares({{1, 1}, {1, 2}, {1, 5}}, {1, 2}).dependent, 2);
}

}  // namespace
}  // namespace quantd
