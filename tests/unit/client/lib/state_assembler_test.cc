#include "client/lib/state_assembler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/wire/chunker.h"

namespace quantd::client {
namespace {

wire::JobStateFrame Piece(uint64_t total, uint64_t offset, const std::string& bytes) {
  return {total, offset, bytes,
          wire::Crc32c({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()})};
}

// "" while the state is not whole, else it, else the error's code.
std::string Added(StateAssembler* assembler, wire::JobStateFrame piece) {
  const auto whole = assembler->Add(std::move(piece));
  if (!whole.ok()) return absl::StatusCodeToString(whole.status().code());
  return whole->value_or("");
}

TEST(StateAssemblerTest, PutsStatesTogetherOneAfterTheOther) {
  StateAssembler assembler;
  EXPECT_EQ(Added(&assembler, Piece(5, 0, "ab")), "");
  EXPECT_EQ(Added(&assembler, Piece(5, 2, "cd")), "");
  EXPECT_EQ(Added(&assembler, Piece(5, 4, "e")), "abcde");
  EXPECT_EQ(Added(&assembler, Piece(1, 0, "x")), "x");
}

TEST(StateAssemblerTest, ANewStateVoidsOneThatWasNotFinished) {
  StateAssembler assembler;
  EXPECT_EQ(Added(&assembler, Piece(5, 0, "ab")), "");
  EXPECT_EQ(Added(&assembler, Piece(4, 0, "12")), "");
  EXPECT_EQ(Added(&assembler, Piece(4, 2, "34")), "1234");
}

TEST(StateAssemblerTest, DamageIsDataLoss) {
  StateAssembler assembler;
  auto piece = Piece(5, 0, "ab");
  piece.data[1] ^= 1;
  EXPECT_EQ(Added(&assembler, piece), "DATA_LOSS");
}

TEST(StateAssemblerTest, PiecesThatDoNotFitAreRefused) {
  const wire::JobStateFrame bad[] = {
      Piece(5, 3, "d"),      // a hole
      Piece(5, 1, "b"),      // an overlap
      Piece(6, 2, "cd"),     // of another state
      Piece(5, 2, "cdefg"),  // past the end
      Piece(5, 2, ""),       // nothing
      Piece(0, 0, ""),       // a state of nothing
      Piece(uint64_t{1} << 63, uint64_t{1} << 62, "x"),
  };
  for (const wire::JobStateFrame& piece : bad) {
    StateAssembler assembler;
    EXPECT_EQ(Added(&assembler, Piece(5, 0, "ab")), "");
    EXPECT_EQ(Added(&assembler, piece), "INTERNAL") << piece.offset << " " << piece.data;
  }
  StateAssembler fresh;
  EXPECT_EQ(Added(&fresh, Piece(5, 2, "cd")), "INTERNAL");
}

TEST(StateAssemblerTest, AHugeSizeIsNotBelievedBeforeItsBytesCome) {
  StateAssembler assembler;
  EXPECT_EQ(Added(&assembler, Piece(uint64_t{1} << 60, 0, "ab")), "");
}

}  // namespace
}  // namespace quantd::client
