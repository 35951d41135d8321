#include "server/session/state_outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/wire/chunker.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(StateOutboxTest, CutsAStateIntoPiecesThatFollowEachOther) {
  for (size_t bytes : {1u, 9u, 10u, 11u, 20u, 25u}) {
    StateOutbox outbox(10);
    const std::string state = std::string("0123456789abcdefghijklmno").substr(0, bytes);
    EXPECT_EQ(outbox.Put(state), "");
    std::string together, spent;
    while (!outbox.empty()) {
      EXPECT_EQ(spent, "");
      const auto piece = outbox.Next(&spent);
      ASSERT_TRUE(piece);
      EXPECT_EQ(piece->total_bytes, bytes);
      EXPECT_EQ(piece->offset, together.size());
      EXPECT_LE(piece->data.size(), 10u);
      EXPECT_EQ(piece->crc32c, wire::Crc32c({reinterpret_cast<const std::byte*>(piece->data.data()),
                                             piece->data.size()}));
      together += piece->data;
    }
    EXPECT_EQ(together, state);
    EXPECT_EQ(spent, state);
    EXPECT_FALSE(outbox.midway());
    EXPECT_FALSE(outbox.Next(&spent));
  }
}

TEST(StateOutboxTest, TheNewestReplacesOneThatHasNotBegun) {
  StateOutbox outbox(10);
  EXPECT_EQ(outbox.Put("first"), "");
  EXPECT_EQ(outbox.Put("second"), "first");
  std::string spent;
  EXPECT_EQ(outbox.Next(&spent)->data, "second");
  EXPECT_TRUE(outbox.empty());
}

TEST(StateOutboxTest, OneThatHasBegunIsSentToItsEnd) {
  StateOutbox outbox(3);
  outbox.Put("abcde");
  std::string spent;
  EXPECT_EQ(outbox.Next(&spent)->data, "abc");
  EXPECT_TRUE(outbox.midway());
  EXPECT_EQ(outbox.Put("12"), "");
  EXPECT_EQ(outbox.Put("34"), "12");
  EXPECT_EQ(outbox.Next(&spent)->data, "de");
  EXPECT_FALSE(outbox.midway());
  EXPECT_FALSE(outbox.empty());
  const auto next = outbox.Next(&spent);
  EXPECT_EQ(next->data, "34");
  EXPECT_EQ(next->offset, 0u);
  EXPECT_EQ(next->total_bytes, 2u);
}

TEST(StateOutboxTest, TakeHandsOutEverythingAndLeavesNothing) {
  StateOutbox outbox(3);
  outbox.Put("abcde");
  std::string spent;
  outbox.Next(&spent);
  outbox.Put("xyz");
  EXPECT_THAT(outbox.Take(), ElementsAre("xyz", "abcde"));
  EXPECT_TRUE(outbox.empty());
  EXPECT_THAT(outbox.Take(), ElementsAre(IsEmpty(), IsEmpty()));
}

}  // namespace
}  // namespace quantd
