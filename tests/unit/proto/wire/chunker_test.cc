#include "proto/wire/chunker.h"

#include <sys/mman.h>

#include <array>
#include <chrono>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace quantd::wire {
namespace {

std::vector<std::byte> Ramp(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 256);
  return bytes;
}

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// One bit at a time, straight from the polynomial.
uint32_t SlowCrc32c(absl::Span<const std::byte> bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (std::byte b : bytes) {
    crc ^= static_cast<uint8_t>(b);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0u);
  }
  return ~crc;
}

TEST(Crc32c, GivesTheKnownAnswers) {
  EXPECT_EQ(Crc32c(Bytes("123456789")), 0xE3069283u);
  EXPECT_EQ(Crc32c({}), 0u);
  // RFC 3720, appendix B.4: 32 bytes of zeros, of ones, rising.
  EXPECT_EQ(Crc32c(Bytes(std::string(32, '\0'))), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(Bytes(std::string(32, '\xFF'))), 0x62A8AB43u);
  std::string rising(32, '\0');
  std::iota(rising.begin(), rising.end(), 0);
  EXPECT_EQ(Crc32c(Bytes(rising)), 0x46DD794Eu);
}

TEST(Crc32c, AgreesWithTheBitwiseVersionForEveryLengthAndAlignment) {
  const std::vector<std::byte> bytes = Ramp(700);
  for (size_t begin = 0; begin < 9; ++begin) {
    for (size_t size = 0; begin + size <= bytes.size(); size += size < 70 ? 1 : 61) {
      const auto piece = absl::MakeConstSpan(bytes).subspan(begin, size);
      ASSERT_EQ(Crc32c(piece), SlowCrc32c(piece)) << begin << " " << size;
    }
  }
}

// Zero bytes act on the register as a linear map; its powers come by squaring.
using Map = std::array<uint32_t, 32>;  // image of each bit

uint32_t Apply(const Map& map, uint32_t value) {
  uint32_t image = 0;
  for (int bit = 0; bit < 32; ++bit) image ^= value >> bit & 1 ? map[bit] : 0;
  return image;
}

uint32_t SlowCrc32cOfZeros(uint64_t count) {
  Map map;
  for (int bit = 0; bit < 32; ++bit) {
    uint32_t value = uint32_t{1} << bit;
    for (int i = 0; i < 8; ++i) value = (value >> 1) ^ (value & 1 ? 0x82F63B78u : 0u);
    map[bit] = value;
  }
  uint32_t crc = 0xFFFFFFFFu;
  for (; count > 0; count >>= 1) {
    if (count & 1) crc = Apply(map, crc);
    Map square;
    for (int bit = 0; bit < 32; ++bit) square[bit] = Apply(map, map[bit]);
    map = square;
  }
  return ~crc;
}

TEST(Crc32c, TakesMoreBytesThanAnIntCounts) {
  ASSERT_EQ(SlowCrc32cOfZeros(32), 0x8A9136AAu);
  const size_t size = (size_t{1} << 31) + 5;
  void* zeros = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(zeros, MAP_FAILED);
  madvise(zeros, size, MADV_HUGEPAGE);  // one page of zeros stands for 2 MiB
  EXPECT_EQ(Crc32c({static_cast<const std::byte*>(zeros), size}), SlowCrc32cOfZeros(size));
  munmap(zeros, size);
}

TEST(Chunker, CutsInOrderWithoutGapsForAnyChunkSize) {
  const std::vector<std::byte> bytes = Ramp(1000);
  for (uint64_t size : {1, 2, 3, 7, 64, 333, 500, 999, 1000, 1001, 1 << 20}) {
    Chunker chunker(5, bytes, size);
    std::string joined;
    while (std::optional<ChunkFrame> chunk = chunker.Next()) {
      EXPECT_EQ(chunk->tensor, 5u);
      EXPECT_EQ(chunk->offset, joined.size());
      EXPECT_EQ(chunk->crc32c, SlowCrc32c(Bytes(chunk->data)));
      EXPECT_EQ(chunk->data.size(), std::min<uint64_t>(size, bytes.size() - joined.size()));
      joined += chunk->data;
    }
    EXPECT_EQ(joined, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    EXPECT_FALSE(chunker.Next().has_value());
  }
}

TEST(Chunker, GivesNothingForAnEmptyTensor) {
  Chunker chunker(0, {});
  EXPECT_FALSE(chunker.Next().has_value());
}

TEST(Chunker, UsesOneMebibyteByDefault) {
  const std::vector<std::byte> bytes = Ramp((1 << 20) + 1);
  Chunker chunker(0, bytes);
  EXPECT_EQ(chunker.Next()->data.size(), size_t{1} << 20);
  EXPECT_EQ(chunker.Next()->data.size(), 1u);
  EXPECT_FALSE(chunker.Next().has_value());
}

}  // namespace
}  // namespace quantd::wire
