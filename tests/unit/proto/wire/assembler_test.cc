#include "proto/wire/assembler.h"

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/wire/chunker.h"

namespace quantd::wire {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Holds what it is told and checks the assembler's promises on the way.
class RecordingSink : public TensorSink {
 public:
  explicit RecordingSink(std::vector<uint64_t> sizes)
      : sizes_(std::move(sizes)), contents(sizes_.size()) {}

  absl::Status Write(int index, uint64_t offset, absl::Span<const std::byte> bytes) override {
    EXPECT_GE(index, 0);
    EXPECT_LT(index, static_cast<int>(sizes_.size()));
    EXPECT_EQ(offset, contents[index].size());
    EXPECT_FALSE(bytes.empty());
    EXPECT_LE(offset + bytes.size(), sizes_[index]);
    contents[index].append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return answer;
  }

 private:
  std::vector<uint64_t> sizes_;

 public:
  std::vector<std::string> contents;
  absl::Status answer;
};

TensorDecl Decl(const std::string& name, Shape shape) {
  TensorDecl decl;
  decl.name = name;
  decl.role = Role::kWeight;
  decl.dtype = DType::kU8;
  decl.shape = std::move(shape);
  return decl;
}

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

ChunkFrame Chunk(uint32_t tensor, uint64_t offset, const std::string& data) {
  return {tensor, offset, data, Crc32c(Bytes(data))};
}

// Two tensors, 'a' of 8 and 'b' of 3 bytes.
class AssemblerTest : public ::testing::Test {
 protected:
  void ExpectError(const absl::Status& status, absl::StatusCode code,
                   const ::testing::Matcher<std::string>& message) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), message);
  }

  std::vector<TensorDecl> decls_ = {Decl("a", {2, 4}), Decl("b", {3})};
  RecordingSink sink_{{8, 3}};
  Assembler assembler_{&decls_, &sink_};
};

std::string RandomText(std::mt19937* random, size_t size) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>((*random)());
  return text;
}

TEST(Assembler, RebuildsTensorsForAnyChunkSizeAndInterleaving) {
  std::mt19937 random(7);
  for (uint64_t chunk_bytes : {1, 2, 5, 64, 100, 1000}) {
    std::vector<std::string> texts;
    std::vector<TensorDecl> decls;
    std::vector<uint64_t> sizes;
    for (int64_t size : {100, 0, 1, 257, 64}) {
      texts.push_back(RandomText(&random, size));
      sizes.push_back(size);
      decls.push_back(Decl(std::to_string(size), {size}));
      decls.back().digest = DigestOf(Bytes(texts.back()));
    }
    RecordingSink sink(sizes);
    Assembler assembler(&decls, &sink);
    EXPECT_EQ(assembler.expected_bytes(), 422u);

    std::vector<Chunker> open;
    for (size_t i = 0; i < texts.size(); ++i) open.emplace_back(i, Bytes(texts[i]), chunk_bytes);
    while (!open.empty()) {
      const size_t pick = random() % open.size();
      if (std::optional<ChunkFrame> chunk = open[pick].Next()) {
        ASSERT_TRUE(assembler.Add(*chunk).ok());
      } else {
        open.erase(open.begin() + pick);
      }
    }
    ASSERT_TRUE(assembler.Finish().ok());
    EXPECT_EQ(assembler.received_bytes(), 422u);
    EXPECT_EQ(sink.contents, texts);
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(assembler.digests()[i], DigestOf(Bytes(texts[i])));
    }
  }
}

TEST_F(AssemblerTest, RefusesAnUnknownTensor) {
  ExpectError(assembler_.Add(Chunk(2, 0, "x")), absl::StatusCode::kInvalidArgument,
              AllOf(HasSubstr("chunk.tensor: 2"), HasSubstr("2 tensors")));
  ExpectError(assembler_.Add(Chunk(0xFFFFFFFFu, 0, "x")), absl::StatusCode::kInvalidArgument,
              HasSubstr("chunk.tensor: 4294967295"));
}

TEST_F(AssemblerTest, RefusesAnEmptyChunk) {
  ExpectError(assembler_.Add(Chunk(1, 0, "")), absl::StatusCode::kInvalidArgument,
              AllOf(HasSubstr("tensor 'b' (index 1)"), HasSubstr("chunk.data: empty")));
}

TEST_F(AssemblerTest, RefusesAGap) {
  ASSERT_TRUE(assembler_.Add(Chunk(0, 0, "1234")).ok());
  ExpectError(assembler_.Add(Chunk(0, 5, "678")), absl::StatusCode::kInvalidArgument,
              AllOf(HasSubstr("tensor 'a'"), HasSubstr("chunk.offset: 5 leaves a gap"),
                    HasSubstr("stands at 4")));
  EXPECT_EQ(sink_.contents[0], "1234");
}

TEST_F(AssemblerTest, RefusesADuplicateAndAnOverlap) {
  ASSERT_TRUE(assembler_.Add(Chunk(0, 0, "1234")).ok());
  ExpectError(assembler_.Add(Chunk(0, 0, "1234")), absl::StatusCode::kInvalidArgument,
              HasSubstr("chunk.offset: 0 repeats bytes, the tensor stands at 4"));
  ExpectError(assembler_.Add(Chunk(0, 3, "4567")), absl::StatusCode::kInvalidArgument,
              HasSubstr("chunk.offset: 3 repeats bytes"));
}

TEST_F(AssemblerTest, RefusesBytesBeyondTheDeclaredSize) {
  ASSERT_TRUE(assembler_.Add(Chunk(0, 0, "1234567")).ok());
  ExpectError(assembler_.Add(Chunk(0, 7, "89")), absl::StatusCode::kOutOfRange,
              AllOf(HasSubstr("tensor 'a'"), HasSubstr("2 bytes at offset 7"),
                    HasSubstr("declared 8 bytes")));
}

TEST_F(AssemblerTest, RefusesOneByteForAFullTensor) {
  ASSERT_TRUE(assembler_.Add(Chunk(1, 0, "123")).ok());
  ExpectError(assembler_.Add(Chunk(1, 3, "4")), absl::StatusCode::kOutOfRange,
              HasSubstr("declared 3 bytes"));
}

TEST_F(AssemblerTest, RefusesOffsetsWhoseEndWraps) {
  for (uint64_t offset : {std::numeric_limits<uint64_t>::max(),
                          std::numeric_limits<uint64_t>::max() - 3, uint64_t{1} << 63}) {
    ExpectError(assembler_.Add(Chunk(0, offset, "12345678")), absl::StatusCode::kInvalidArgument,
                HasSubstr(std::to_string(offset)));
  }
}

TEST_F(AssemblerTest, FindsDamageInAChunk) {
  ChunkFrame chunk = Chunk(0, 0, "12345678");
  chunk.data[3] ^= 0x10;
  ExpectError(
      assembler_.Add(chunk), absl::StatusCode::kDataLoss,
      AllOf(HasSubstr("tensor 'a'"), HasSubstr("chunk.crc32c: 0x"), HasSubstr("at offset 0")));
  EXPECT_EQ(sink_.contents[0], "");
}

TEST_F(AssemblerTest, FindsMissingBytesAtTheEnd) {
  ASSERT_TRUE(assembler_.Add(Chunk(0, 0, "12345678")).ok());
  ASSERT_TRUE(assembler_.Add(Chunk(1, 0, "12")).ok());
  ExpectError(assembler_.Finish(), absl::StatusCode::kInvalidArgument,
              AllOf(HasSubstr("tensor 'b' (index 1)"), HasSubstr("2 of 3 bytes")));
}

TEST_F(AssemblerTest, FindsATensorThatNeverCame) {
  ExpectError(assembler_.Finish(), absl::StatusCode::kInvalidArgument,
              AllOf(HasSubstr("tensor 'a' (index 0)"), HasSubstr("0 of 8 bytes")));
}

TEST_F(AssemblerTest, FindsADigestThatDoesNotMatch) {
  decls_[1].digest = DigestOf(Bytes("124"));
  ASSERT_TRUE(assembler_.Add(Chunk(0, 0, "12345678")).ok());
  ASSERT_TRUE(assembler_.Add(Chunk(1, 0, "123")).ok());
  ExpectError(assembler_.Finish(), absl::StatusCode::kDataLoss,
              AllOf(HasSubstr("tensor 'b'"), HasSubstr(decls_[1].digest->Hex()),
                    HasSubstr(DigestOf(Bytes("123")).Hex())));
}

TEST_F(AssemblerTest, PassesTheSinksErrorOn) {
  sink_.answer = absl::InvalidArgumentError("the sink's own words");
  EXPECT_EQ(assembler_.Add(Chunk(0, 0, "1")), sink_.answer);
}

TEST(Assembler, EmptyTensorsNeedNoChunkAndTakeNone) {
  std::vector<TensorDecl> decls = {Decl("none", {0, 16})};
  decls[0].digest = DigestOf({});
  RecordingSink sink({0});
  Assembler quiet(&decls, &sink);
  EXPECT_TRUE(quiet.Finish().ok());
  EXPECT_EQ(quiet.digests()[0], DigestOf({}));
  Assembler loud(&decls, &sink);
  EXPECT_EQ(loud.Add(Chunk(0, 0, "x")).code(), absl::StatusCode::kOutOfRange);
}

TEST(Assembler, NoDeclarationsAreAnEmptyUpload) {
  const std::vector<TensorDecl> decls;
  RecordingSink sink({});
  Assembler assembler(&decls, &sink);
  EXPECT_EQ(assembler.Add(Chunk(0, 0, "x")).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(assembler.Finish().ok());
  EXPECT_EQ(assembler.expected_bytes(), 0u);
}

TEST(Assembler, SumsOfHugeDeclarationsDoNotWrap) {
  const std::vector<TensorDecl> decls(5, Decl("huge", {int64_t{1} << 62}));
  RecordingSink sink(std::vector<uint64_t>(5, uint64_t{1} << 62));
  Assembler assembler(&decls, &sink);
  EXPECT_EQ(assembler.expected_bytes(), std::numeric_limits<uint64_t>::max());
}

}  // namespace
}  // namespace quantd::wire
