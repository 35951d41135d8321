#include "client/cli/decoded_error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "workers/core/float16.h"

namespace quantd::cli {
namespace {

template <typename T>
absl::Span<const std::byte> Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)};
}

TEST(DecodedErrorTest, KnownAnswer) {
  const std::vector<float> w = {3, 4, 0, 0};
  DecodedError error;
  error.Add(DType::kF32, Bytes(w), {3, 3, 0, 0.5f});
  const ErrorMeasures m = error.Finish();
  EXPECT_DOUBLE_EQ(m.weight_mse, 1.25 / 4);
  EXPECT_DOUBLE_EQ(m.weight_relative_error, 0.05);
  EXPECT_DOUBLE_EQ(m.sqnr_db, 10 * std::log10(20.0));
  EXPECT_DOUBLE_EQ(m.max_abs_error, 1.0);
  EXPECT_DOUBLE_EQ(m.cosine, 21.0 / (5.0 * std::sqrt(18.25)));
  EXPECT_TRUE(error.finite());
}

TEST(DecodedErrorTest, PiecesAddUp) {
  const std::vector<float> w = {1, -2, 3, -4};
  const std::vector<float> d = {1.5f, -2, 2, -4};
  DecodedError whole;
  whole.Add(DType::kF32, Bytes(w), d);
  DecodedError pieces;
  pieces.Add(DType::kF32, Bytes(w).subspan(0, 8), {d[0], d[1]});
  pieces.Add(DType::kF32, Bytes(w).subspan(8), {d[2], d[3]});
  EXPECT_EQ(whole.Finish().weight_mse, pieces.Finish().weight_mse);
  EXPECT_EQ(whole.Finish().cosine, pieces.Finish().cosine);
}

TEST(DecodedErrorTest, HalfTypesAreRead) {
  const std::vector<uint16_t> f16 = {ToF16(1.5f), ToF16(-2)};
  const std::vector<uint16_t> bf16 = {ToBF16(1.5f), ToBF16(-2)};
  for (const auto& [dtype, bits] : {std::pair(DType::kF16, f16), std::pair(DType::kBF16, bf16)}) {
    DecodedError error;
    error.Add(dtype, Bytes(bits), {1.5f, -2});
    EXPECT_EQ(error.Finish().sqnr_db, kExactSqnrDb);
    EXPECT_EQ(error.Finish().cosine, 1.0);
  }
}

TEST(DecodedErrorTest, ZeroWeightsAndInfinitiesAreTold) {
  const std::vector<float> w = {0, 0};
  DecodedError zero;
  zero.Add(DType::kF32, Bytes(w), {0, 0});
  EXPECT_EQ(zero.Finish().weight_relative_error, 0);
  EXPECT_EQ(zero.Finish().sqnr_db, 0);
  EXPECT_EQ(zero.Finish().cosine, 1);
  DecodedError infinite;
  infinite.Add(DType::kF32, Bytes(w), {0, std::numeric_limits<float>::infinity()});
  EXPECT_FALSE(infinite.finite());
}

}  // namespace
}  // namespace quantd::cli
