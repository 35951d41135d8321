#include "workers/core/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <utility>

#include "workers/core/buffer_copy.h"

namespace quantd {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

TEST(BufferTest, IsZeroedAndAlignedOnBothSidesOfTheMappingLimit) {
  for (const uint64_t size :
       {uint64_t{1}, uint64_t{63}, uint64_t{4096}, kMiB - 1, kMiB, kMiB + 5}) {
    const auto buffer = Buffer::Allocate(size);
    ASSERT_TRUE(buffer.ok()) << size;
    EXPECT_EQ(buffer->size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
    EXPECT_TRUE(std::all_of(buffer->data(), buffer->data() + size,
                            [](std::byte b) { return b == std::byte{0}; }));
  }
}

TEST(BufferTest, MayBeEmpty) {
  EXPECT_EQ(Buffer().size(), 0u);
  const auto buffer = Buffer::Allocate(0);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(buffer->size(), 0u);
  EXPECT_TRUE(buffer->As<float>().empty());
}

TEST(BufferTest, SizesThatNoMachineHasAreAnErrorWithTheSize) {
  for (const uint64_t size : {~uint64_t{0}, uint64_t{1} << 62, uint64_t{1} << 60}) {
    const auto buffer = Buffer::Allocate(size);
    EXPECT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted) << size;
    EXPECT_NE(std::string(buffer.status().message()).find(std::to_string(size)), std::string::npos);
  }
}

TEST(BufferTest, MovingHandsTheBytesOver) {
  for (const uint64_t size : {uint64_t{100}, 2 * kMiB}) {
    Buffer a = *Buffer::Allocate(size);
    std::byte* const data = a.data();
    data[size - 1] = std::byte{7};
    Buffer b = std::move(a);
    EXPECT_EQ(a.data(), nullptr);
    EXPECT_EQ(a.size(), 0u);
    EXPECT_EQ(b.data(), data);
    Buffer c = *Buffer::Allocate(3);
    c = std::move(b);
    EXPECT_EQ(c.size(), size);
    EXPECT_EQ(c.data()[size - 1], std::byte{7});
  }
}

TEST(BufferTest, ShrinkingKeepsTheHead) {
  for (const uint64_t size : {uint64_t{1000}, 3 * kMiB}) {
    Buffer buffer = *Buffer::Allocate(size);
    std::byte* const data = buffer.data();
    data[499] = std::byte{9};
    buffer.ShrinkTo(size + 1);
    EXPECT_EQ(buffer.size(), size) << "growing is not shrinking";
    buffer.ShrinkTo(500);
    EXPECT_EQ(buffer.size(), 500u);
    EXPECT_EQ(buffer.data(), data);
    EXPECT_EQ(buffer.data()[499], std::byte{9});
  }
}

TEST(BufferTest, ViewsAsTypedArrays) {
  Buffer buffer = *Buffer::Allocate(16);
  ASSERT_EQ(buffer.As<float>().size(), 4u);
  buffer.As<float>()[3] = 2.5f;
  EXPECT_EQ(std::as_const(buffer).As<float>()[3], 2.5f);
}

TEST(BufferTest, AKeptMappingIsUsedAgainAndZeroFilledWhenAskedFor) {
  // Nothing of this size can be kept yet: the first buffer gives back what is.
  { const Buffer other = *Buffer::Allocate(200 * kMiB); }
  const std::byte* first;
  {
    Buffer buffer = *Buffer::AllocateUnfilled(4 * kMiB);
    std::memset(buffer.data(), 0x5A, buffer.size());
    first = buffer.data();
  }
  const Buffer again = *Buffer::Allocate(4 * kMiB - 100);
  EXPECT_EQ(again.data(), first);
  EXPECT_EQ(again.size(), 4 * kMiB - 100);
  EXPECT_TRUE(std::all_of(again.data(), again.data() + again.size(),
                          [](std::byte b) { return b == std::byte{0}; }));
}

TEST(BufferTest, AMappingMuchLargerThanAskedForIsNotUsed) {
  // Nothing of this size can be kept yet: the first buffer gives back what is.
  { const Buffer other = *Buffer::Allocate(200 * kMiB); }
  const auto resident = [] {
    std::ifstream status("/proc/self/statm");
    uint64_t total = 0, pages = 0;
    status >> total >> pages;
    return pages * 4096;
  };
  {
    Buffer buffer = *Buffer::Allocate(64 * kMiB);
    std::memset(buffer.data(), 1, buffer.size());
  }
  const uint64_t kept = resident();
  // No match: the large mapping goes back to the kernel first.
  const Buffer small = *Buffer::Allocate(2 * kMiB);
  ASSERT_NE(small.data(), nullptr);
  EXPECT_LT(resident() + 60 * kMiB, kept);
}

TEST(CopyOfTest, CopiesAllBytesAndStopsWhenTold) {
  InlineExecutor executor;
  CancelToken cancel;
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{5}, uint64_t{9} << 20}) {
    Buffer from = *Buffer::Allocate(bytes);
    for (uint64_t i = 0; i < bytes; i += 977) from.data()[i] = static_cast<std::byte>(i);
    const absl::StatusOr<Buffer> to = CopyOf(from, executor, cancel);
    ASSERT_TRUE(to.ok()) << to.status();
    ASSERT_EQ(to->size(), bytes);
    EXPECT_TRUE(std::equal(from.data(), from.data() + bytes, to->data()));
  }
  cancel.Cancel(absl::StatusCode::kCancelled);
  EXPECT_EQ(CopyOf(*Buffer::Allocate(8), executor, cancel).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace quantd
