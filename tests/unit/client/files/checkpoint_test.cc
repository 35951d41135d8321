#include "client/files/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "tests/unit/client/files/model_folder.h"

namespace quantd {
namespace {

using ::quantd::testing::F32;
using ::quantd::testing::PatternF32;
using ::quantd::testing::RawTensor;
using ::quantd::testing::Serialize;
using ::quantd::testing::TempFolder;
using ::quantd::testing::WriteText;
using ::testing::HasSubstr;

constexpr char kIndex[] = "model.safetensors.index.json";
constexpr char kFirst[] = "model-00001-of-00002.safetensors";
constexpr char kSecond[] = "model-00002-of-00002.safetensors";

std::string Map(const std::string& pairs) {
  return R"({"metadata":{"total_size":32},"weight_map":{)" + pairs + "}}";
}

std::string GoodIndex() {
  return Map(std::string(R"("b.weight":")") + kFirst + R"(","a.weight":")" + kSecond + "\"");
}

// A folder of two shards that opens.
void WriteSharded(const TempFolder& dir) {
  WriteText(dir / "config.json", R"({"model_type":"llama"})");
  WriteText(dir / kFirst, Serialize({F32("b.weight", {2, 2}, 1)}));
  WriteText(dir / kSecond, Serialize({F32("a.weight", {2, 2}, 2)}));
  WriteText(dir / kIndex, GoodIndex());
}

void ExpectFails(const TempFolder& dir, const std::string& message) {
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_FALSE(checkpoint.ok()) << message;
  EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr(message));
}

TEST(Checkpoint, OpensASingleFile) {
  TempFolder dir;
  quantd::testing::WriteLlama(dir.path());
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->ModelType(), "llama");
  EXPECT_EQ(checkpoint->tensors().size(), quantd::testing::LlamaTensors().size());
  const CheckpointTensor* const norm = checkpoint->Find("model.norm.weight");
  ASSERT_NE(norm, nullptr);
  EXPECT_EQ(checkpoint->Bytes(*norm).size(), 256);
  EXPECT_EQ(checkpoint->Find("model.norm"), nullptr);
}

TEST(Checkpoint, OpensShardsAndKnowsTheOwners) {
  TempFolder dir;
  WriteSharded(dir);
  auto opened = Checkpoint::Open(dir.path());
  ASSERT_TRUE(opened.ok()) << opened.status();
  const Checkpoint checkpoint = *std::move(opened);  // views survive the move
  ASSERT_EQ(checkpoint.tensors().size(), 2);
  EXPECT_EQ(checkpoint.tensors()[0].name(), "a.weight");
  EXPECT_EQ(checkpoint.tensors()[0].shard, 1);
  EXPECT_EQ(checkpoint.tensors()[1].shard, 0);
  const std::string expected = PatternF32(4, 2);
  const auto bytes = checkpoint.Bytes(checkpoint.tensors()[0]);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), expected);
  EXPECT_EQ(checkpoint.TotalBytes(), 32);
}

TEST(Checkpoint, BytesStayReadableAfterRelease) {
  TempFolder dir;
  WriteText(dir / "config.json", "{}");
  const RawTensor big = F32("w.weight", {64, 1024}, 3);
  WriteText(dir / "model.safetensors", Serialize({big, F32("x.weight", {3}, 4)}));
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const CheckpointTensor& w = checkpoint->tensors()[0];
  checkpoint->Release(w);
  const auto bytes = checkpoint->Bytes(w);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), big.bytes);
}

TEST(Checkpoint, RefusesIndexValuesThatAreNoBareFileNames) {
  for (const char* value :
       {"../model-00001-of-00002.safetensors", "/etc/passwd", "sub/model.safetensors", "..", ".",
        "", "a\\\\b.safetensors", "x.bin", "a\\u0000.safetensors"}) {
    TempFolder dir;
    WriteSharded(dir);
    WriteText(dir / kIndex, Map(std::string(R"("a.weight":")") + value + "\""));
    ExpectFails(dir, "'a.weight' names the file");
  }
}

TEST(Checkpoint, RefusesAnIndexThatIsNotOne) {
  for (const char* text : {"", "[]", "{", R"({"weight_map":[]})", R"({"weight_map":{}})",
                           R"({"weight_map":{"a":1}})", "{}"}) {
    TempFolder dir;
    WriteSharded(dir);
    WriteText(dir / kIndex, text);
    ExpectFails(dir, kIndex);
  }
  TempFolder dir;
  WriteSharded(dir);
  WriteText(dir / kIndex, std::string(1000, '[') + std::string(1000, ']'));
  ExpectFails(dir, "nests deeper");
}

TEST(Checkpoint, RefusesShardsAndIndexThatDisagree) {
  {
    TempFolder dir;
    WriteSharded(dir);
    unlink((dir / kSecond).c_str());
    ExpectFails(dir, "shard 'model-00002-of-00002.safetensors' is missing");
  }
  {
    TempFolder dir;
    WriteSharded(dir);
    WriteText(dir / "model-00001-of-00003.safetensors", Serialize({F32("c", {1}, 1)}));
    ExpectFails(dir, "stale shard 'model-00001-of-00003.safetensors'");
  }
  {
    TempFolder dir;
    WriteSharded(dir);
    WriteText(dir / kSecond, Serialize({F32("other", {2, 2}, 2)}));
    ExpectFails(dir, "'other'");
  }
  {
    TempFolder dir;
    WriteSharded(dir);
    WriteText(dir / kSecond, Serialize({}));
    ExpectFails(dir, "'a.weight' is not in 'model-00002-of-00002.safetensors'");
  }
  {
    TempFolder dir;  // the same tensor in both shards
    WriteSharded(dir);
    WriteText(dir / kSecond, Serialize({F32("a.weight", {2, 2}, 2), F32("b.weight", {2, 2}, 1)}));
    ExpectFails(dir, "the index puts it into 'model-00001-of-00002.safetensors'");
  }
  {
    TempFolder dir;
    WriteSharded(dir);
    WriteText(dir / "model.safetensors", Serialize({}));
    ExpectFails(dir, "holds both");
  }
  {
    TempFolder dir;
    WriteSharded(dir);
    unlink((dir / kIndex).c_str());
    ExpectFails(dir, "has neither");
  }
}

TEST(Checkpoint, NamesTheDamagedShard) {
  TempFolder dir;
  WriteSharded(dir);
  WriteText(dir / kSecond, Serialize({F32("a.weight", {2, 2}, 2)}) + "x");
  ExpectFails(dir, kSecond);
}

TEST(Checkpoint, NeedsAConfigThatIsAnObject) {
  TempFolder dir;
  WriteSharded(dir);
  for (const char* text : {"", "3", "[1]", "{\"a\":"}) {
    WriteText(dir / "config.json", text);
    ExpectFails(dir, "config.json");
  }
  unlink((dir / "config.json").c_str());
  ExpectFails(dir, "config.json");
  EXPECT_FALSE(Checkpoint::Open(dir / "nowhere").ok());
}

TEST(Checkpoint, SaysThatAFolderIsUnfinished) {
  TempFolder dir;
  WriteText(dir / "quantd-journal.jsonl", "{}");
  ExpectFails(dir, "unfinished; continue its run with --resume");
}

TEST(NaturalLess, ComparesNumbersByValue) {
  EXPECT_TRUE(NaturalLess("layers.2.x", "layers.10.x"));
  EXPECT_FALSE(NaturalLess("layers.10.x", "layers.2.x"));
  EXPECT_TRUE(NaturalLess("a", "a.b"));
  EXPECT_TRUE(NaturalLess("layers.99999999999999999999999.a", "layers.100000000000000000000000.a"));
  EXPECT_FALSE(NaturalLess("same.1", "same.1"));
}

TEST(NaturalLess, IsATotalOrder) {
  std::vector<std::string> words = {"1",     "01", "001", "1a", "01a", "a1", "a01", "a1b",
                                    "a01b2", "",   "a",   "0",  "00",  "2",  "10",  "\xC3\xA9"};
  std::mt19937 random(5);
  std::vector<std::string> sorted = words;
  std::sort(sorted.begin(), sorted.end(), NaturalLess);
  for (int i = 0; i < 50; ++i) {
    std::shuffle(words.begin(), words.end(), random);
    std::vector<std::string> again = words;
    std::sort(again.begin(), again.end(), NaturalLess);
    EXPECT_EQ(again, sorted);
  }
  for (const std::string& a : words) {
    for (const std::string& b : words) {
      EXPECT_EQ(NaturalLess(a, b) + NaturalLess(b, a), a != b) << a << " " << b;
    }
  }
}

}  // namespace
}  // namespace quantd
