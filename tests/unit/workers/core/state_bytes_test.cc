#include "workers/core/state_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace quantd {
namespace {

using ::testing::HasSubstr;

TEST(StateBytesTest, NumbersComeBackInOrder) {
  const std::vector<float> floats = {1.5f, -0.0f, std::numeric_limits<float>::infinity()};
  const std::vector<uint16_t> codes = {0, 1, 65535};
  StateWriter writer;
  writer.Number<uint8_t>(7);
  writer.Number<int64_t>(-3);
  writer.Numbers(floats);
  writer.Numbers(codes);
  writer.Number(0.1);
  const std::string bytes = writer.Take();

  StateReader reader(bytes);
  uint8_t small = 0;
  int64_t large = 0;
  double real = 0;
  std::vector<float> floats_back;
  std::vector<uint16_t> codes_back;
  ASSERT_TRUE(reader.Number(&small).ok());
  ASSERT_TRUE(reader.Number(&large).ok());
  ASSERT_TRUE(reader.Numbers(3, &floats_back).ok());
  ASSERT_TRUE(reader.Numbers(3, &codes_back).ok());
  EXPECT_FALSE(reader.End().ok());
  ASSERT_TRUE(reader.Number(&real).ok());
  EXPECT_TRUE(reader.End().ok());
  EXPECT_EQ(small, 7);
  EXPECT_EQ(large, -3);
  EXPECT_EQ(floats_back, floats);
  EXPECT_TRUE(std::signbit(floats_back[1]));
  EXPECT_EQ(codes_back, codes);
  EXPECT_EQ(real, 0.1);
}

TEST(StateBytesTest, NumbersLieLittleEndianAfterTheirCount) {
  StateWriter writer;
  writer.Number<uint32_t>(0x04030201);
  writer.Numbers(std::vector<uint16_t>{0x0605});
  EXPECT_EQ(writer.Take(), std::string("\x01\x02\x03\x04\x01\0\0\0\0\0\0\0\x05\x06", 14));
}

TEST(StateBytesTest, EmptyVectorsAndEmptyStates) {
  StateWriter writer;
  writer.Numbers(std::vector<double>());
  const std::string bytes = writer.Take();
  StateReader reader(bytes);
  std::vector<double> back = {1.0};
  ASSERT_TRUE(reader.Numbers(0, &back).ok());
  EXPECT_TRUE(back.empty());
  EXPECT_TRUE(reader.End().ok());
  StateReader nothing("");
  EXPECT_TRUE(nothing.End().ok());
  uint8_t byte = 9;
  EXPECT_EQ(nothing.Number(&byte).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(byte, 9);
}

TEST(StateBytesTest, EveryCutIsRefused) {
  StateWriter writer;
  writer.Number<int32_t>(1);
  writer.Numbers(std::vector<float>{1, 2, 3});
  const std::string bytes = writer.Take();
  for (size_t length = 0; length < bytes.size(); ++length) {
    const std::string cut = bytes.substr(0, length);
    StateReader reader(cut);
    int32_t number = 0;
    std::vector<float> numbers;
    absl::Status status = reader.Number(&number);
    if (status.ok()) status = reader.Numbers(3, &numbers);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << length;
  }
}

TEST(StateBytesTest, AnotherCountIsRefusedBeforeMemoryIsTaken) {
  StateWriter writer;
  writer.Numbers(std::vector<float>{1, 2, 3});
  const std::string bytes = writer.Take();
  for (const uint64_t count : {0u, 2u, 4u}) {
    StateReader reader(bytes);
    std::vector<float> numbers;
    EXPECT_FALSE(reader.Numbers(count, &numbers).ok()) << count;
    EXPECT_TRUE(numbers.empty());
  }
  StateWriter forged;
  forged.Number(std::numeric_limits<uint64_t>::max() / 2);
  const std::string promise = forged.Take();
  StateReader reader(promise);
  std::vector<float> numbers;
  EXPECT_FALSE(reader.Numbers(std::numeric_limits<uint64_t>::max() / 2, &numbers).ok());
  EXPECT_EQ(numbers.capacity(), 0u);
}

TEST(StateBytesTest, BytesTooManyAreCounted) {
  StateReader reader("abc");
  const absl::Status status = reader.End();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("3 bytes too many"));
}

}  // namespace
}  // namespace quantd
