#include "workers/pack/bits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "absl/strings/escaping.h"
#include "tests/reference/pack_reference.h"

namespace quantd {
namespace {

using ::testing::ElementsAreArray;

std::vector<uint8_t> RandomCodes(int64_t count, int bits, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> codes(count);
  for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & ((1 << bits) - 1));
  return codes;
}

std::string PackedHex(const std::vector<uint8_t>& codes, int bits) {
  std::string stream(BitStreamBytes(codes.size(), bits), '\xEE');
  PackBits(codes.data(), codes.size(), bits, reinterpret_cast<uint8_t*>(stream.data()));
  return absl::BytesToHexString(stream);
}

TEST(BitsTest, PacksTheGoldenWordOfFourBits) {
  EXPECT_EQ(PackedHex({15, 0, 9, 5, 8, 12, 6, 10}, 4), "0f59c8a6");
}

TEST(BitsTest, PacksTheGoldenStreamOfThreeBits) {
  EXPECT_EQ(PackedHex({0, 1, 2, 3, 4, 5, 6, 7, 0, 7, 3, 6}, 3), "88c6faf80c");
}

TEST(BitsTest, AnUnfinishedByteEndsInZeros) { EXPECT_EQ(PackedHex({7}, 3), "07"); }

TEST(BitsTest, StreamBytesRoundUp) {
  EXPECT_EQ(BitStreamBytes(0, 3), 0);
  EXPECT_EQ(BitStreamBytes(1, 3), 1);
  EXPECT_EQ(BitStreamBytes(8, 3), 3);
  EXPECT_EQ(BitStreamBytes(9, 3), 4);
}

TEST(BitsTest, OnlyTheLowBitsOfACodeCount) {
  for (int bits = 2; bits < 8; ++bits) {
    const std::vector<uint8_t> clean = RandomCodes(97, bits, 5);
    std::vector<uint8_t> dirty = clean;
    for (uint8_t& code : dirty) code |= static_cast<uint8_t>(0xFF << bits);
    EXPECT_EQ(PackedHex(dirty, bits), PackedHex(clean, bits)) << bits;
  }
}

TEST(BitsTest, WideStreamsEqualTheDefinitionAndStayInside) {
  std::mt19937 random(3);
  for (int bits = 1; bits <= 16; ++bits) {
    for (int64_t count = 0; count < 40; ++count) {
      std::vector<uint16_t> codes(count);
      for (uint16_t& code : codes) code = static_cast<uint16_t>(random());
      std::vector<uint8_t> packed(BitStreamBytes(count, bits) + 2, 0xEE);
      PackWideBits(codes.data(), count, bits, packed.data() + 1);
      ASSERT_EQ(packed.front(), 0xEE);
      ASSERT_EQ(packed.back(), 0xEE);
      for (int64_t bit = 0; bit < static_cast<int64_t>(packed.size() - 2) * 8; ++bit) {
        const bool want = bit < count * bits && (codes[bit / bits] >> (bit % bits) & 1) != 0;
        ASSERT_EQ(packed[1 + bit / 8] >> (bit % 8) & 1, want) << bits << " bits, bit " << bit;
      }
      std::vector<uint16_t> back(count + 1, 0xEEEE);
      UnpackWideBits(packed.data() + 1, count, bits, back.data());
      for (int64_t i = 0; i < count; ++i) ASSERT_EQ(back[i], codes[i] & ((1 << bits) - 1));
      ASSERT_EQ(back.back(), 0xEEEE);
    }
  }
}

TEST(BitsTest, WideStreamsOfNarrowCodesAreTheOrdinaryOnes) {
  for (int bits = 2; bits <= 8; ++bits) {
    const std::vector<uint8_t> codes = RandomCodes(97, bits, 6);
    const std::vector<uint16_t> wide(codes.begin(), codes.end());
    std::vector<uint8_t> packed(BitStreamBytes(97, bits));
    PackWideBits(wide.data(), 97, bits, packed.data());
    EXPECT_EQ(packed, reference::PackBits(codes, bits)) << bits;
  }
}

class BitsLevelTest : public ::testing::TestWithParam<int> {};

// Every length up to beyond two batches, at an odd address, with guard bytes on both sides.
TEST_P(BitsLevelTest, EveryLevelEqualsTheReferenceAndStaysInside) {
  const int bits = GetParam();
  for (const BitKernels* kernels : SupportedBitKernels()) {
    for (int64_t count = 0; count < 1100; count += count < 140 ? 1 : 61) {
      const std::vector<uint8_t> codes = RandomCodes(count, bits, count + bits);
      const std::vector<uint8_t> want = reference::PackBits(codes, bits);
      std::vector<uint8_t> packed(want.size() + 2, 0xEE);
      kernels->pack(codes.data(), count, bits, packed.data() + 1);
      ASSERT_EQ(packed.front(), 0xEE) << kernels->level << " " << count;
      ASSERT_EQ(packed.back(), 0xEE) << kernels->level << " " << count;
      ASSERT_EQ(std::vector<uint8_t>(packed.begin() + 1, packed.end() - 1), want)
          << kernels->level << " " << count;

      // An exact heap block, so that the address sanitizer sees a read past its end.
      const std::vector<uint8_t> stream(want);
      std::vector<uint8_t> back(count + 2, 0xEE);
      kernels->unpack(stream.data(), count, bits, back.data() + 1);
      ASSERT_EQ(back.front(), 0xEE) << kernels->level << " " << count;
      ASSERT_EQ(back.back(), 0xEE) << kernels->level << " " << count;
      ASSERT_EQ(std::vector<uint8_t>(back.begin() + 1, back.end() - 1), codes)
          << kernels->level << " " << count;
    }
  }
}

TEST_P(BitsLevelTest, ArbitraryStreamsUnpackLikeTheReference) {
  const int bits = GetParam();
  for (const BitKernels* kernels : SupportedBitKernels()) {
    for (int64_t count : {1, 7, 8, 9, 63, 515}) {
      const std::vector<uint8_t> stream = RandomCodes(BitStreamBytes(count, bits), 8, count);
      std::vector<uint8_t> codes(count);
      kernels->unpack(stream.data(), count, bits, codes.data());
      EXPECT_EQ(codes, reference::UnpackBits(stream, count, bits)) << kernels->level << count;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllWidths, BitsLevelTest, ::testing::Range(2, 9));

TEST(TransposeWordsTest, EveryLevelMovesEachWordOnceAndTouchesNothingElse) {
  for (const BitKernels* kernels : SupportedBitKernels()) {
    for (int64_t rows : {1, 3, 8, 13, 32}) {
      for (int64_t cols : {1, 7, 8, 16, 21}) {
        const int64_t in_stride = cols + 3, out_stride = rows + 5;
        std::vector<uint32_t> in(rows * in_stride), out(cols * out_stride, 0xEEEEEEEE);
        for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint32_t>(i + 1);
        std::vector<uint32_t> want = out;
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < cols; ++c) want[c * out_stride + r] = in[r * in_stride + c];
        }
        // One byte off any alignment on both sides.
        std::vector<uint8_t> shifted_in(4 * in.size() + 1), shifted_out(4 * out.size() + 1);
        std::memcpy(shifted_in.data() + 1, in.data(), 4 * in.size());
        std::memcpy(shifted_out.data() + 1, out.data(), 4 * out.size());
        kernels->transpose(shifted_in.data() + 1, in_stride, rows, cols, shifted_out.data() + 1,
                           out_stride);
        std::memcpy(out.data(), shifted_out.data() + 1, 4 * out.size());
        EXPECT_THAT(out, ElementsAreArray(want)) << kernels->level << rows << "x" << cols;
      }
    }
  }
}

TEST(BitsTest, TheBaselineIsAlwaysAmongTheLevels) {
  ASSERT_FALSE(SupportedBitKernels().empty());
  EXPECT_STREQ(SupportedBitKernels()[0]->level, "baseline");
}

}  // namespace
}  // namespace quantd
