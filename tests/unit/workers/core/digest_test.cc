#include "workers/core/digest.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quantd {
namespace {

absl::Span<const std::byte> Bytes(const std::string& s) {
  return {reinterpret_cast<const std::byte*>(s.data()), s.size()};
}

TEST(DigestTest, GivesTheKnownXxh3Values) {
  EXPECT_EQ(DigestOf(Bytes("")).Hex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(DigestOf(Bytes("a")).Hex(), "a96faf705af16834e6c632b61e964e1f");
  EXPECT_EQ(DigestOf(Bytes("abc")).Hex(), "06b05ab6733a618578af5f94892f3950");
}

TEST(DigestTest, PiecesGiveTheDigestOfTheWhole) {
  std::string text;
  for (int i = 0; i < 10000; ++i) text.push_back(static_cast<char>(i * 131 % 251));
  for (const size_t piece : {1u, 7u, 256u, 4096u, 20000u}) {
    DigestStream stream;
    for (size_t at = 0; at < text.size(); at += piece) stream.Add(Bytes(text.substr(at, piece)));
    stream.Add({});
    EXPECT_EQ(stream.Finish(), DigestOf(Bytes(text))) << piece;
  }
}

TEST(DigestTest, FinishLeavesTheStreamOpen) {
  DigestStream stream;
  stream.Add(Bytes("ab"));
  EXPECT_EQ(stream.Finish(), DigestOf(Bytes("ab")));
  DigestStream moved = std::move(stream);
  moved.Add(Bytes("c"));
  EXPECT_EQ(moved.Finish(), DigestOf(Bytes("abc")));
}

TEST(DigestTest, OneBitMakesAnotherDigest) {
  std::string text(1000, 'x');
  const Digest before = DigestOf(Bytes(text));
  text[500] ^= 1;
  EXPECT_NE(DigestOf(Bytes(text)), before);
}

TEST(DigestTest, HexGoesBothWays) {
  const Digest digest = DigestOf(Bytes("quantd"));
  ASSERT_TRUE(Digest::FromHex(digest.Hex()).has_value());
  EXPECT_EQ(*Digest::FromHex(digest.Hex()), digest);
  EXPECT_EQ(digest.Hex().size(), 32u);
}

TEST(DigestTest, BadHexIsRefused) {
  EXPECT_FALSE(Digest::FromHex("").has_value());
  EXPECT_FALSE(Digest::FromHex(std::string(31, '0')).has_value());
  EXPECT_FALSE(Digest::FromHex(std::string(33, '0')).has_value());
  EXPECT_FALSE(Digest::FromHex(std::string(31, '0') + "g").has_value());
  EXPECT_TRUE(Digest::FromHex(std::string(32, '0')).has_value());
}

}  // namespace
}  // namespace quantd
