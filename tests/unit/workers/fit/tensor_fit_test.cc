#include <gtest/gtest.h>

#include <vector>

#include "tests/reference/rtn_inputs.h"
#include "tests/reference/rtn_reference.h"
#include "workers/fit/fit.h"

namespace quantd {
namespace {

using reference::RtnInput;

Spec TensorSpec(FitKind kind, double norm) {
  Spec spec;
  spec.partition.granularity = Granularity::kTensor;
  spec.levels = {3, Symmetry::kAsymmetric};
  spec.fit.kind = kind;
  spec.fit.norm = norm;
  return spec;
}

GroupFit FitInStripes(const Spec& spec, const RtnInput& input, int64_t stripe) {
  TensorFit fit(spec);
  const int64_t n = input.cols;
  const auto rows_at = [&](int64_t r) { return std::min(stripe, input.rows - r); };
  for (int64_t r = 0; r < input.rows; r += stripe) {
    fit.MergeRange(TensorFit::RangeOf(&input.values[r * n], rows_at(r) * n));
  }
  if (fit.NeedsErrors()) {
    fit.PrepareErrors();
    for (int64_t r = 0; r < input.rows; r += stripe) {
      fit.MergeErrors(fit.StripeErrors(&input.values[r * n], rows_at(r), n));
    }
  }
  return fit.Finish();
}

TEST(TensorFitTest, MinMaxIsThatOfAllValuesAtOnce) {
  const Spec spec = TensorSpec(FitKind::kMinMax, 2.0);
  for (const RtnInput& input : reference::RtnInputs(10, 37)) {
    const auto expected = reference::FitValues(spec, input.values.data(), input.values.size());
    for (const int64_t stripe : {1, 4, 10}) {
      const GroupFit fit = FitInStripes(spec, input, stripe);
      EXPECT_EQ(fit.scale, expected.scale) << input.name;
      EXPECT_EQ(fit.zero, expected.zero) << input.name;
      EXPECT_EQ(fit.overflow, expected.overflow) << input.name;
    }
  }
}

TEST(TensorFitTest, ShrinkSearchFindsTheLeastErrorOfTheWholeWeight) {
  for (const double norm : {2.0, 2.4}) {
    const Spec spec = TensorSpec(FitKind::kShrinkSearch, norm);
    const RtnInput input = reference::Gaussian(24, 50, 0.3f, 6);
    const int64_t size = static_cast<int64_t>(input.values.size());
    const auto best = reference::FitValues(spec, input.values.data(), size);
    const double least = reference::GroupError(spec, best, input.values.data(), size);
    const GroupFit fit = FitInStripes(spec, input, 5);
    const double found =
        reference::GroupError(spec, {fit.scale, fit.zero, false}, input.values.data(), size);
    EXPECT_NEAR(found / least, 1.0, 1e-5);
    EXPECT_LT(fit.scale, FitRange(spec, -1.0f, 1.0f).scale);
  }
}

TEST(TensorFitTest, FillsEveryGroupOfAStripe) {
  Coded out;
  out.Reshape(TensorSpec(FitKind::kMinMax, 2.0), 4, 3, 8);
  FillParams({0.25f, 3, false}, &out);
  EXPECT_EQ(out.scales, std::vector<float>(3, 0.25f));
  EXPECT_EQ(out.zeros, std::vector<uint8_t>(3, 3));
}

}  // namespace
}  // namespace quantd
