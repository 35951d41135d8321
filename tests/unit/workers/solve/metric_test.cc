#include "workers/solve/metric.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tests/reference/shuffled_executor.h"
#include "workers/linalg/blas.h"

namespace quantd {
namespace {

class MetricTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(InitBlas().ok()); }

  // H [n, n] of random numbers with a heavy diagonal, and a Hessian that was given its upper half.
  Hessian MakeHessian(int64_t n) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    h_.resize(n * n);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i; j < n; ++j) {
        h_[i * n + j] = h_[j * n + i] = i == j ? static_cast<float>(n) : normal(random);
      }
    }
    Buffer b = *Buffer::Allocate(h_.size() * sizeof(float));
    std::memcpy(b.data(), h_.data(), h_.size() * sizeof(float));
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < i; ++j) b.As<float>()[i * n + j] = 1e9f;
    }
    return *Hessian::Create(std::move(b), n, Hessian::Given::kUpper, "h", executor_, cancel_);
  }

  InlineExecutor executor_;
  CancelToken cancel_;
  std::vector<float> h_;
};

TEST_F(MetricTest, RowsAreThoseOfTheWholeMatrix) {
  for (const int64_t n : {1, 63, 64, 150}) {
    Hessian hessian = MakeHessian(n);
    reference::ShuffledExecutor threads(3);
    const Metric metric = Metric::Of(&hessian, threads);
    ASSERT_EQ(metric.n(), n);
    ASSERT_FALSE(metric.identity());
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_TRUE(std::equal(h_.begin() + i * n, h_.begin() + (i + 1) * n, metric.row(i)));
    }
  }
}

TEST_F(MetricTest, ProductIsThatOfPlainLoops) {
  const int64_t n = 100, rows = 300;
  Hessian hessian = MakeHessian(n);
  const Metric metric = Metric::Of(&hessian, executor_);
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  std::vector<float> a(rows * n), out(rows * n);
  for (float& v : a) v = normal(random);
  metric.Multiply(a.data(), rows, out.data(), cancel_);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < n; ++j) {
      double want = 0;
      for (int64_t k = 0; k < n; ++k) want += static_cast<double>(a[r * n + k]) * h_[k * n + j];
      ASSERT_NEAR(out[r * n + j], want, 1e-3);
    }
  }
}

TEST_F(MetricTest, CancelledProductIsLeft) {
  const int64_t n = 64;
  Hessian hessian = MakeHessian(n);
  const Metric metric = Metric::Of(&hessian, executor_);
  std::vector<float> a(n, 1.0f), out(n, -5.0f);
  cancel_.Cancel();
  metric.Multiply(a.data(), 1, out.data(), cancel_);
  EXPECT_EQ(out, std::vector<float>(n, -5.0f));
}

TEST_F(MetricTest, BlocksAreCutOut) {
  Hessian hessian = MakeHessian(20);
  const Metric metric = Metric::Of(&hessian, executor_);
  std::vector<float> block(9), unit(9);
  metric.Block(7, 3, block.data());
  Metric::Identity(20).Block(7, 3, unit.data());
  for (int64_t a = 0; a < 3; ++a) {
    for (int64_t b = 0; b < 3; ++b) EXPECT_EQ(block[a * 3 + b], h_[(7 + a) * 20 + 7 + b]);
  }
  EXPECT_EQ(unit, (std::vector<float>{1, 0, 0, 0, 1, 0, 0, 0, 1}));
}

TEST_F(MetricTest, IdentityGivesWhatItGets) {
  const Metric metric = Metric::Identity(3);
  EXPECT_TRUE(metric.identity());
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  std::vector<float> out(6);
  metric.Multiply(a.data(), 2, out.data(), cancel_);
  EXPECT_EQ(out, a);
}

}  // namespace
}  // namespace quantd
