#include "workers/engine/given_code.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/reference/shuffled_executor.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
absl::Status Read(DType dtype, int bits, const std::vector<T>& values, std::vector<uint16_t>* out) {
  InlineExecutor executor;
  CancelToken cancel;
  const TensorDecl decl = {
      "w.codes", Role::kCodes, dtype, {static_cast<int64_t>(values.size())}, std::nullopt, ""};
  return ReadCodes(decl,
                   {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)},
                   bits, executor, cancel, out);
}

TEST(GivenCodeTest, NegativeCodesWrapAtTheirEdges) {
  std::vector<uint16_t> codes;
  ASSERT_TRUE(Read<int8_t>(DType::kI8, 8, {0, 127, -128, -1}, &codes).ok());
  EXPECT_THAT(codes, ElementsAre(0, 127, 128, 255));
  ASSERT_TRUE(Read<int16_t>(DType::kI16, 16, {0, 32767, -32768, -1}, &codes).ok());
  EXPECT_THAT(codes, ElementsAre(0, 32767, 32768, 65535));
  ASSERT_TRUE(Read<int16_t>(DType::kI16, 12, {-2048, -1, 4095, 2047}, &codes).ok());
  EXPECT_THAT(codes, ElementsAre(2048, 4095, 4095, 2047));
  ASSERT_TRUE(Read<int8_t>(DType::kI8, 1, {0, 1, -1}, &codes).ok());
  EXPECT_THAT(codes, ElementsAre(0, 1, 1));
}

TEST(GivenCodeTest, UnsignedCodesAreTakenAsTheyAre) {
  std::vector<uint16_t> codes;
  ASSERT_TRUE(Read<uint8_t>(DType::kU8, 8, {0, 128, 255}, &codes).ok());
  EXPECT_THAT(codes, ElementsAre(0, 128, 255));
  ASSERT_TRUE(Read<uint16_t>(DType::kU16, 16, {0, 65535}, &codes).ok());
  EXPECT_THAT(codes, ElementsAre(0, 65535));
  ASSERT_TRUE(Read<int32_t>(DType::kI32, 16, {0, 65535, -1}, &codes).ok());
  EXPECT_THAT(codes, ElementsAre(0, 65535, 65535));
}

TEST(GivenCodeTest, WhatNoCodeIsIsRefusedByTensorIndexAndValue) {
  std::vector<uint16_t> codes;
  const auto refused = [&](const absl::Status& s, const char* text) {
    EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument) << s;
    EXPECT_THAT(std::string(s.message()), HasSubstr(text));
  };
  refused(Read<int8_t>(DType::kI8, 6, {1, 2, 64}, &codes),
          "tensor 'w.codes': code 64 at index 2 is not in -32..63");
  refused(Read<int8_t>(DType::kI8, 6, {-33, 2, 64}, &codes), "code -33 at index 0");
  refused(Read<int32_t>(DType::kI32, 16, {0, 65536}, &codes), "code 65536 at index 1");
  refused(Read<int32_t>(DType::kI32, 16, {std::numeric_limits<int32_t>::min()}, &codes),
          "code -2147483648 at index 0");
  refused(Read<uint16_t>(DType::kU16, 8, {256}, &codes), "code 256 at index 0");
}

TEST(GivenCodeTest, TheFirstBadCodeIsNamedWhateverTheThreads) {
  std::vector<uint8_t> values((size_t{3} << 20) + 5, 7);
  values[(2 << 20) + 1] = 99;
  values.back() = 98;
  const TensorDecl decl = {
      "c", Role::kCodes, DType::kU8, {static_cast<int64_t>(values.size())}, std::nullopt, ""};
  const absl::Span<const std::byte> bytes = {reinterpret_cast<const std::byte*>(values.data()),
                                             values.size()};
  reference::ShuffledExecutor executor(4);
  CancelToken cancel;
  std::vector<uint16_t> codes;
  const absl::Status s = ReadCodes(decl, bytes, 4, executor, cancel, &codes);
  EXPECT_THAT(std::string(s.message()), HasSubstr("code 99 at index 2097153"));
  ASSERT_TRUE(ReadCodes(decl, bytes, 7, executor, cancel, &codes).ok());
  EXPECT_EQ(codes.back(), 98);
  cancel.Cancel();
  EXPECT_EQ(ReadCodes(decl, bytes, 7, executor, cancel, &codes).code(),
            absl::StatusCode::kCancelled);
}

TEST(GivenCodeTest, NumbersMustBeFiniteAndWithinF16) {
  const TensorDecl decl = {"b", Role::kCodebooks, DType::kF32, {3}, std::nullopt, ""};
  const auto check = [&](float v) {
    const float values[] = {1.0f, -65504.0f, v};
    return CheckStorableF16(decl, values);
  };
  EXPECT_TRUE(check(65504.0f).ok());
  EXPECT_THAT(std::string(check(65505.0f).message()), HasSubstr("'b': value 65505 at index 2 is "
                                                                "beyond the largest f16"));
  EXPECT_THAT(std::string(check(std::numeric_limits<float>::quiet_NaN()).message()),
              HasSubstr("index 2 is not finite"));
  EXPECT_THAT(std::string(check(-std::numeric_limits<float>::infinity()).message()),
              HasSubstr("not finite"));
}

}  // namespace
}  // namespace quantd
