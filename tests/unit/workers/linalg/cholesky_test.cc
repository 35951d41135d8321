#include "workers/linalg/cholesky.h"

#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/reference/shuffled_executor.h"
#include "workers/linalg/blas.h"

namespace quantd {
namespace {

// A positive definite matrix, and junk above the diagonal that must survive.
std::vector<float> Matrix(int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> a(n * n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) a[i * n + j] = uniform(random);
    a[i * n + i] = static_cast<float>(n) * 0.7f;
  }
  return a;
}

class CholeskyTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { ASSERT_TRUE(InitBlas().ok()); }
  CancelToken cancel_;
  InlineExecutor inline_;
};

TEST_P(CholeskyTest, ProductOfFactorIsTheMatrixAndTheUpperTriangleSurvives) {
  const int64_t n = GetParam();
  const std::vector<float> a = Matrix(n, 1);
  std::vector<float> l = a;
  ASSERT_TRUE(CholeskyLower(n, l.data(), inline_, cancel_).ok());
  double worst = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i + 1; j < n; ++j) ASSERT_EQ(l[i * n + j], a[i * n + j]);
    if (i % 7 != 0 && n > 200) continue;  // a sample of rows
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t k = 0; k <= j; ++k) sum += static_cast<double>(l[i * n + k]) * l[j * n + k];
      worst = std::max(worst, std::abs(sum - a[i * n + j]));
    }
  }
  EXPECT_LT(worst, 1e-4 * static_cast<double>(n));
}

TEST_P(CholeskyTest, InverseTimesFactorIsIdentity) {
  const int64_t n = GetParam();
  std::vector<float> l = Matrix(n, 2);
  ASSERT_TRUE(CholeskyLower(n, l.data(), inline_, cancel_).ok());
  std::vector<float> inverse = l;
  ASSERT_TRUE(InvertLower(n, inverse.data(), inline_, cancel_).ok());
  for (int64_t i = 0; i < n; i += (n > 200 ? 13 : 1)) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t k = j; k <= i; ++k)
        sum += static_cast<double>(inverse[i * n + k]) * l[k * n + j];
      ASSERT_NEAR(sum, i == j ? 1.0 : 0.0, 1e-4) << i << ", " << j;
    }
    for (int64_t j = i + 1; j < n; ++j) ASSERT_EQ(inverse[i * n + j], l[i * n + j]);
  }
}

TEST_P(CholeskyTest, BitsDoNotDependOnTheExecutor) {
  const int64_t n = GetParam();
  std::vector<float> one = Matrix(n, 3), many = one;
  reference::ShuffledExecutor shuffled(3);
  ASSERT_TRUE(CholeskyLower(n, one.data(), inline_, cancel_).ok());
  ASSERT_TRUE(CholeskyLower(n, many.data(), shuffled, cancel_).ok());
  EXPECT_EQ(one, many);
  ASSERT_TRUE(InvertLower(n, one.data(), inline_, cancel_).ok());
  ASSERT_TRUE(InvertLower(n, many.data(), shuffled, cancel_).ok());
  EXPECT_EQ(one, many);
}

// One block, one panel exactly, panels with a remainder, several tiles.
INSTANTIATE_TEST_SUITE_P(Sizes, CholeskyTest, ::testing::Values(1, 5, 256, 300, 700));

TEST(CholeskyErrorsTest, IndefiniteAndNanMatricesAreRefused) {
  ASSERT_TRUE(InitBlas().ok());
  InlineExecutor executor;
  CancelToken cancel;
  std::vector<float> a = Matrix(300, 4);
  a[290 * 300 + 290] = -1.0f;
  EXPECT_EQ(CholeskyLower(300, a.data(), executor, cancel).code(),
            absl::StatusCode::kFailedPrecondition);
  std::vector<float> b = Matrix(20, 5);
  b[7 * 20 + 3] = std::nanf("");
  EXPECT_EQ(CholeskyLower(20, b.data(), executor, cancel).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(CholeskyErrorsTest, ACancelledTokenStopsTheWork) {
  ASSERT_TRUE(InitBlas().ok());
  InlineExecutor executor;
  CancelToken cancel;
  cancel.Cancel(absl::StatusCode::kDeadlineExceeded);
  std::vector<float> a = Matrix(20, 6);
  EXPECT_EQ(CholeskyLower(20, a.data(), executor, cancel).code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(BlasTest, RunsAKernelMadeForThisCpu) {
  ASSERT_TRUE(InitBlas().ok());
  const std::string blas = BlasDescription();
  EXPECT_NE(blas.find("OpenBLAS 0."), std::string::npos) << blas;
  if (__builtin_cpu_supports("avx2")) {
    EXPECT_EQ(blas.find("Prescott"), std::string::npos) << blas;
  }
}

}  // namespace
}  // namespace quantd
