#include "workers/core/dtype.h"

#include <gtest/gtest.h>

namespace quantd {
namespace {

TEST(DTypeTest, NamesAndNumbersGoBothWays) {
  for (int i = 1; i <= 15; ++i) {
    const DType dtype = static_cast<DType>(i);
    const auto parsed = ParseDType(DTypeName(dtype));
    ASSERT_TRUE(parsed.has_value()) << i;
    EXPECT_EQ(*parsed, dtype);
    EXPECT_GT(DTypeBytes(dtype), 0u);
  }
}

TEST(DTypeTest, UsesTheSafetensorsNames) {
  EXPECT_EQ(DTypeName(DType::kBF16), "BF16");
  EXPECT_EQ(DTypeName(DType::kBool), "BOOL");
  EXPECT_EQ(DTypeName(DType::kF8E4M3), "F8_E4M3");
  EXPECT_EQ(DTypeName(DType::kF8E5M2), "F8_E5M2");
}

TEST(DTypeTest, KnowsTheWidths) {
  EXPECT_EQ(DTypeBytes(DType::kF32), 4u);
  EXPECT_EQ(DTypeBytes(DType::kF16), 2u);
  EXPECT_EQ(DTypeBytes(DType::kBF16), 2u);
  EXPECT_EQ(DTypeBytes(DType::kF64), 8u);
  EXPECT_EQ(DTypeBytes(DType::kI64), 8u);
  EXPECT_EQ(DTypeBytes(DType::kU8), 1u);
  EXPECT_EQ(DTypeBytes(DType::kUnspecified), 0u);
}

TEST(DTypeTest, UnknownNamesAndNumbersAreRefused) {
  EXPECT_FALSE(ParseDType("f32").has_value());
  EXPECT_FALSE(ParseDType("").has_value());
  EXPECT_FALSE(ParseDType("F4").has_value());
  EXPECT_FALSE(ParseDType("unspecified").has_value());
  EXPECT_EQ(DTypeBytes(static_cast<DType>(200)), 0u);
  EXPECT_EQ(DTypeName(static_cast<DType>(200)), "unspecified");
}

TEST(DTypeTest, OnlyThreeTypesAreReal) {
  int real = 0;
  for (int i = 0; i <= 16; ++i) real += IsRealDType(static_cast<DType>(i));
  EXPECT_EQ(real, 3);
  EXPECT_TRUE(IsRealDType(DType::kF32) && IsRealDType(DType::kF16) && IsRealDType(DType::kBF16));
}

}  // namespace
}  // namespace quantd
