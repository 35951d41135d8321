#include "workers/pack/zero_points.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "tests/unit/workers/pack/samples.h"

namespace quantd {
namespace {

// One group of eight rows at 4 bits: one word.
Coded EightRows(std::vector<uint8_t> zeros) {
  Coded coded = RandomCoded(Asymmetric(RowSpec(4)), 8, 4, 1);
  coded.zeros = std::move(zeros);
  return coded;
}

TEST(ZeroPointsTest, GoldenWordWithAndWithoutTheOffset) {
  const Coded coded = EightRows({0, 7, 9, 3, 12, 1, 15, 8});
  std::vector<std::byte> word(4);
  StoreZeroPoints(coded, {1, 1, 0}, word.data());
  EXPECT_EQ(Hex(word), "70391c8f");  // 0x8F1C3970
  StoreZeroPoints(coded, {1, 1, 1}, word.data());
  EXPECT_EQ(Hex(word), "6f280b7e");  // 0x7E0B286F: zero 0 wraps to all ones
}

// Adding 1 field by field; a whole-word addition would carry into the second field.
TEST(ZeroPointsTest, TheOffsetComesBackFieldByField) {
  const Coded coded = EightRows({0, 7, 9, 3, 12, 1, 15, 8});
  std::vector<std::byte> word(4);
  StoreZeroPoints(coded, {1, 1, 1}, word.data());
  Coded back = EightRows(std::vector<uint8_t>(8, 0xEE));
  LoadZeroPoints(word.data(), {1, 1, 1}, &back);
  EXPECT_EQ(back.zeros, coded.zeros);
}

TEST(ZeroPointsTest, StridesPlaceWordsOfGroups) {
  const Spec spec = Asymmetric(GroupSpec(4, 4));
  Coded coded = RandomCoded(spec, 16, 8, 1);  // two groups, two words each
  for (int r = 0; r < 16; ++r) {
    coded.zeros[2 * r] = r < 8 ? 1 : 2;
    coded.zeros[2 * r + 1] = r < 8 ? 3 : 4;
  }
  std::vector<std::byte> words(16);
  StoreZeroPoints(coded, {2, 1, 0}, words.data());  // word, then group: compressed-tensors
  EXPECT_EQ(Hex(words), "11111111333333332222222244444444");
  StoreZeroPoints(coded, {1, 2, 0}, words.data());  // group, then word: GPTQ
  EXPECT_EQ(Hex(words), "11111111222222223333333344444444");
}

}  // namespace
}  // namespace quantd
