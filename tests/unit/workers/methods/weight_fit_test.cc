#include "workers/methods/weight_fit.h"

#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"
#include "tests/reference/shuffled_executor.h"
#include "tests/reference/synthetic.h"
#include "workers/core/float16.h"
#include "workers/methods/rtn.h"

namespace quantd {
namespace {

constexpr int64_t kM = 100;
constexpr int64_t kN = 64;

class WeightFitTest : public ::testing::Test {
 protected:
  WeightFitTest() : w_(reference::HeavyTailedWeight(kM, kN, 5)) {}

  WeightView View() const {
    return {DType::kF32, reinterpret_cast<const std::byte*>(w_.data()), kM, kN};
  }

  static Spec TensorSpec(FitKind fit) {
    Spec spec = RtnMethod().Defaults();
    spec.partition.granularity = Granularity::kTensor;
    spec.fit.kind = fit;
    spec.scale_dtype = DType::kF32;
    return spec;
  }

  Coded Fitted(const Spec& spec, int64_t stripe_rows, Executor& executor) {
    const WeightFit fit = *WeightFit::Create(spec, View(), stripe_rows, executor, cancel_);
    Coded coded;
    coded.Reshape(spec, 0, kM, kN);
    EXPECT_FALSE(fit.Fit(w_.data(), &coded, cancel_).scale_overflow);
    return coded;
  }

  std::vector<float> w_;
  InlineExecutor inline_;
  CancelToken cancel_;
};

TEST_F(WeightFitTest, OneScalePerTensorCoversTheLargestWeightOfAnyStripe) {
  const Coded coded = Fitted(TensorSpec(FitKind::kMinMax), 32, inline_);
  float largest = 0;
  for (const float v : w_) largest = std::max(largest, std::abs(v));
  for (const float s : coded.scales) EXPECT_FLOAT_EQ(s, 2 * largest / 15);
}

TEST_F(WeightFitTest, ShrinkSearchOverStripesDoesNotDependOnThreads) {
  reference::ShuffledExecutor shuffled(4);
  const Spec spec = TensorSpec(FitKind::kShrinkSearch);
  const Coded one = Fitted(spec, 32, inline_), many = Fitted(spec, 32, shuffled);
  EXPECT_EQ(one.scales, many.scales);
  EXPECT_LT(one.scales[0], Fitted(TensorSpec(FitKind::kMinMax), 32, inline_).scales[0]);
}

TEST_F(WeightFitTest, GroupsInsideRowsNeedNoPassOverTheWeight) {
  cancel_.Cancel();  // a pass would notice
  EXPECT_TRUE(WeightFit::Create(RtnMethod().Defaults(), View(), 32, inline_, cancel_).ok());
  EXPECT_FALSE(WeightFit::Create(TensorSpec(FitKind::kMinMax), View(), 32, inline_, cancel_).ok());
}

TEST_F(WeightFitTest, ReadsRowsOfSixteenBitUploads) {
  std::vector<uint16_t> bits(w_.size());
  std::transform(w_.begin(), w_.end(), bits.begin(), ToBF16);
  const WeightView view{DType::kBF16, reinterpret_cast<const std::byte*>(bits.data()), kM, kN};
  std::vector<float> rows(3 * kN);
  view.ReadRows(7, 3, rows.data());
  for (int64_t i = 0; i < 3 * kN; ++i) EXPECT_EQ(rows[i], FromBF16(bits[7 * kN + i]));
}

}  // namespace
}  // namespace quantd
