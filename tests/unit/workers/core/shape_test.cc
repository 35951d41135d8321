#include "workers/core/shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace quantd {
namespace {

using testing::HasSubstr;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(ShapeTest, PrintsDimensions) {
  EXPECT_EQ(ShapeString({4096, 11008}), "[4096, 11008]");
  EXPECT_EQ(ShapeString({}), "[]");
}

TEST(ShapeTest, MultipliesDimensions) {
  EXPECT_EQ(*CheckedElements({}, "w"), 1u);
  EXPECT_EQ(*CheckedElements({3, 5, 7}, "w"), 105u);
  EXPECT_EQ(*CheckedBytes({3, 5}, DType::kBF16, "w"), 30u);
}

TEST(ShapeTest, AnEmptyDimensionMakesAnEmptyTensorWhateverTheOthers) {
  EXPECT_EQ(*CheckedElements({kMax, 0, kMax}, "w"), 0u);
  EXPECT_EQ(*CheckedBytes({kMax, kMax, 0}, DType::kF64, "w"), 0u);
}

TEST(ShapeTest, NegativeDimensionsAreInvalidEvenBesideAnEmptyOne) {
  for (const Shape& shape :
       {Shape{4, -1}, Shape{0, -1}, Shape{std::numeric_limits<int64_t>::min()}}) {
    const auto elements = CheckedElements(shape, "layer.weight");
    EXPECT_EQ(elements.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(elements.status().message()), HasSubstr("layer.weight"));
    EXPECT_THAT(std::string(elements.status().message()), HasSubstr(ShapeString(shape)));
  }
}

TEST(ShapeTest, ProductsBeyondTheBoundAreOutOfRange) {
  const int64_t big = int64_t{1} << 31;
  EXPECT_EQ(*CheckedElements({big, big}, "w"), uint64_t{1} << 62);
  EXPECT_EQ(CheckedElements({big, big, 2}, "w").status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(CheckedElements({kMax}, "w").status().code(), absl::StatusCode::kOutOfRange);
  // 2^32 x 2^32 wraps to 0 in 64 bits.
  EXPECT_EQ(CheckedElements({big * 2, big * 2}, "w").status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST(ShapeTest, BytesAreBoundedLikeElements) {
  const int64_t big = int64_t{1} << 31;
  EXPECT_EQ(*CheckedBytes({big, big / 4}, DType::kF32, "w"), uint64_t{1} << 62);
  EXPECT_EQ(CheckedBytes({big, big / 2}, DType::kF32, "w").status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(CheckedBytes({2}, DType::kUnspecified, "w").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ShapeTest, CeilDivRoundsUp) {
  EXPECT_EQ(CeilDiv(0, 4), 0);
  EXPECT_EQ(CeilDiv(4, 4), 1);
  EXPECT_EQ(CeilDiv(5, 4), 2);
}

}  // namespace
}  // namespace quantd
