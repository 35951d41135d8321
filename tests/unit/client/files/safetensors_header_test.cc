// The header parser against the table of good and damaged files in the format's notes.
#include "client/files/safetensors_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "client/files/output_plan.h"
#include "tests/unit/client/files/model_folder.h"

namespace quantd {
namespace {

using ::quantd::testing::AsBytes;
using ::quantd::testing::Assemble;
using ::quantd::testing::PatternBytes;
using ::testing::HasSubstr;

absl::StatusOr<SafetensorsHeader> Parse(const std::string& file) {
  return ParseSafetensors(AsBytes(file), "file.safetensors");
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

// The 100 bytes that the reference writer gives for one I32 tensor.
std::string Golden() {
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"I32","shape":[1,1],"data_offsets":[0,4]}} )";
  return Assemble(json, "\x0F\x59\xC8\xA6");
}

TEST(SafetensorsHeader, ReadsTheGoldenFile) {
  const std::string file = Golden();
  ASSERT_EQ(file.size(), 100);
  ASSERT_EQ(static_cast<unsigned char>(file[0]), 0x58);
  const auto header = Parse(file);
  ASSERT_TRUE(header.ok()) << header.status();
  ASSERT_EQ(header->tensors.size(), 1);
  const StoredTensor& w = header->tensors[0];
  EXPECT_EQ(w.name, "w");
  EXPECT_EQ(w.dtype, DType::kI32);
  EXPECT_EQ(w.shape, (Shape{1, 1}));
  EXPECT_EQ(w.begin, 0);
  EXPECT_EQ(w.end, 4);
  EXPECT_EQ(header->data_begin, 96);
  EXPECT_EQ(header->metadata.at("format"), "pt");
}

TEST(SafetensorsHeader, LaysOutTheGoldenFile) {
  PlannedTensor w{"w", "I32", {1, 1}, 4};
  std::vector<PlannedTensor*> members = {&w};
  EXPECT_EQ(LayOutSafetensors(members) + "\x0F\x59\xC8\xA6", Golden());
  EXPECT_EQ(w.offset, 96);
}

TEST(SafetensorsHeader, LaysOutTensorsInTheReferenceWritersOrder) {
  std::vector<PlannedTensor> tensors = {
      {"b", "BF16", {1}, 2}, {"a", "BF16", {1}, 2}, {"u", "U8", {1}, 1},
      {"i", "I64", {2}, 16}, {"f", "F32", {1}, 4},  {"k", "I32", {1}, 4},
  };
  std::vector<PlannedTensor*> members;
  for (PlannedTensor& t : tensors) members.push_back(&t);
  const std::string header = LayOutSafetensors(members);
  std::string order;
  std::vector<uint64_t> offsets;
  for (const PlannedTensor* t : members) {
    order += t->name;
    offsets.push_back(t->offset - header.size());
  }
  EXPECT_EQ(order, "ifkabu");
  EXPECT_EQ(offsets, (std::vector<uint64_t>{0, 16, 20, 24, 26, 28}));
  EXPECT_EQ(header.size() % 8, 0);
  EXPECT_TRUE(Parse(header + PatternBytes(29, 1)).ok());
}

struct Case {
  const char* name;
  std::string file;
  const char* message;  // empty: the file is good
};

class DamagedFiles : public ::testing::TestWithParam<Case> {};

TEST_P(DamagedFiles, GetsTheRightVerdict) {
  const auto header = Parse(GetParam().file);
  if (*GetParam().message == '\0') {
    EXPECT_TRUE(header.ok()) << header.status();
    return;
  }
  ASSERT_FALSE(header.ok());
  EXPECT_THAT(std::string(header.status().message()), HasSubstr(GetParam().message));
  EXPECT_THAT(std::string(header.status().message()), HasSubstr("file.safetensors"));
}

std::string One(const std::string& entry, size_t data = 4) {
  return Assemble("{" + entry + "}", PatternBytes(data, 7));
}

std::vector<Case> Cases() {
  const std::string w = Entry("w", "I32", "[1]", "[0,4]");
  std::string huge = One(w);
  huge.replace(0, 8, std::string("\x01\xE1\xF5\x05\0\0\0\0", 8));  // 100 000 001
  std::string wraps = One(w);
  wraps.replace(0, 8, std::string(8, '\xFF'));
  std::string beyond = One(w);
  beyond[1] = 1;  // 256 more
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  return {
      // Rejected.
      {"TrailingByte", One(w, 5), "1 trailing bytes"},
      {"ShortBuffer", One(w, 3), "data_offsets [0, 4] pass"},
      {"Hole", One(w + "," + Entry("v", "I32", "[1]", "[5,9]"), 9), "'v': data_offsets [5, 9]"},
      {"Overlap", One(w + "," + Entry("v", "I32", "[1]", "[3,7]"), 7), "overlap"},
      {"FirstOffsetNotZero", One(Entry("w", "I32", "[1]", "[4,8]"), 8), "hole from 0"},
      {"EndBeforeBegin", One(Entry("w", "I32", "[1]", "[4,0]"), 4), "end before"},
      {"HeaderTooLong", huge, "100000001 is above the limit"},
      {"HeaderLengthWraps", wraps, "above the limit"},
      {"HeaderBeyondFile", beyond, "passes the end of the file"},
      {"SevenBytes", "1234567", "has 7 bytes"},
      {"Empty", "", "has 0 bytes"},
      {"NoHeader", std::string(8, '\0'), "does not start with '{'"},
      {"BadUtf8", One(Entry("\xFFw", "I32", "[1]", "[0,4]")), "UTF-8"},
      {"OverlongUtf8", One(Entry("\xC0\xAF", "I32", "[1]", "[0,4]")), "UTF-8"},
      {"MetadataNumber", One("\"__metadata__\":{\"a\":1}," + w), "value of 'a' is 1"},
      {"MetadataObject", One("\"__metadata__\":{\"a\":{}}," + w), "value of 'a' is an object"},
      {"MetadataString", One("\"__metadata__\":\"x\"," + w), "expected an object"},
      {"MetadataTwice", One("\"__metadata__\":{},\"__metadata__\":{}," + w), "appears twice"},
      {"MetadataKeyTwice", One("\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}," + w), "'a' appears"},
      {"UnknownDType", One(Entry("w", "I33", "[1]", "[0,4]")), "dtype: 'I33'"},
      {"DTypeNumber", One(R"("w":{"dtype":3,"shape":[1],"data_offsets":[0,4]})"), "dtype"},
      {"NegativeShape", One(Entry("w", "I32", "[-1]", "[0,4]")), "shape: entry -1"},
      {"FloatShape", One(Entry("w", "I32", "[1.0]", "[0,4]")), "shape: entry 1.0"},
      {"StringShape", One(Entry("w", "I32", "[\"1\"]", "[0,4]")), "shape: entry \"1\""},
      {"ShapeNotArray", One(Entry("w", "I32", "1", "[0,4]")), "shape"},
      {"HugeShapeEntry", One(Entry("w", "I32", "[18446744073709551615]", "[0,4]")), "too large"},
      {"BeyondUint64", One(Entry("w", "I32", "[99999999999999999999999]", "[0,4]")), "shape"},
      {"SizeDisagrees", One(Entry("w", "I32", "[2]", "[0,4]")), "needs 8"},
      {"ProductOverflows", One(Entry("w", "I32", "[4294967296,4294967296]", "[0,4]")), "too large"},
      {"BitsOverflow", One(Entry("w", "I64", "[1152921504606846976]", "[0,4]")), "too large"},
      {"OddF4", One(Entry("w", "F4", "[3]", "[0,2]"), 2), "inside a byte"},
      {"OffsetsOne", One(Entry("w", "I32", "[1]", "[4]")), "1 entries"},
      {"OffsetsThree", One(Entry("w", "I32", "[1]", "[0,4,4]")), "more than two"},
      {"OffsetsFloat", One(Entry("w", "I32", "[1]", "[0,4.0]")), "data_offsets: entry 4.0"},
      {"OffsetsNegative", One(Entry("w", "I32", "[1]", "[-4,0]")), "data_offsets: entry -4"},
      {"SameNameTwiceSameBegin", One(w + "," + w), "'w': name appears twice"},
      {"SameNameTwice", One(w + "," + Entry("w", "I32", "[1]", "[4,8]"), 8), "appears twice"},
      {"SameNameEscaped", One(w + "," + Entry("\\u0077", "I32", "[1]", "[4,8]"), 8), "twice"},
      {"LeadingSpace", Assemble(" {" + w + "}", "1234"), "does not start with '{'"},
      {"TopLevelArray", Assemble("[]", ""), "does not start with '{'"},
      {"SecondDocument", Assemble("{" + w + "}{}", "1234"), "JSON"},
      {"Unclosed", Assemble("{" + w, "1234"), "JSON"},
      {"FieldTwice", One(R"("w":{"dtype":"I32","dtype":"I32","shape":[1],"data_offsets":[0,4]})"),
       "dtype: appears twice"},
      {"NoDType", One(R"("w":{"shape":[1],"data_offsets":[0,4]})"), "dtype: is missing"},
      {"NoShape", One(R"("w":{"dtype":"I32","data_offsets":[0,4]})"), "shape: is missing"},
      {"NoOffsets", One(R"("w":{"dtype":"I32","shape":[1]})"), "data_offsets: is missing"},
      {"EntryNull", One("\"w\":null"), "expected an object"},
      {"NestedShape", One(Entry("w", "I32", "[[1]]", "[0,4]")), "shape"},
      // Accepted.
      {"UnknownKey",
       One(R"("w":{"x":{"dtype":["y",{"shape":1}]},"dtype":"I32","shape":[1],"data_offsets":[0,4]})"),
       ""},
      {"DeepUnknownKey",
       One(R"("w":{"x":)" + deep + R"(,"dtype":"I32","shape":[1],"data_offsets":[0,4]})"), ""},
      {"TrailingSpace", Assemble("{" + w + "}   \n", "1234"), ""},
      {"ZeroSize", One(Entry("e", "F32", "[0,7]", "[0,0]") + "," + w), ""},
      {"Scalar", One(Entry("s", "F32", "[]", "[0,4]")), ""},
      {"NoTensors", Assemble("{}", ""), ""},
      {"OtherOrder", One(Entry("b", "I32", "[1]", "[4,8]") + "," + w, 8), ""},
      {"EvenF4", One(Entry("w", "F4", "[8]", "[0,4]")), ""},
      {"E8M0", One(Entry("w", "F8_E8M0", "[2,2]", "[0,4]")), ""},
  };
}

INSTANTIATE_TEST_SUITE_P(Table, DamagedFiles, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

TEST(SafetensorsHeader, SortsByOffsetAndKeepsUnknownDTypesByName) {
  const auto header = Parse(
      One(Entry("b", "F8_E8M0", "[4]", "[4,8]") + "," + Entry("a", "I32", "[1]", "[0,4]"), 8));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[1].dtype_name, "F8_E8M0");
  EXPECT_EQ(header->tensors[1].dtype, DType::kUnspecified);
}

TEST(SafetensorsHeader, EscapesControlCharactersInMessages) {
  const auto header = Parse(One(Entry("a\\u001b[2J", "I33", "[1]", "[0,4]")));
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.status().message().find('\x1b'), absl::string_view::npos);
}

// Every truncation and every single flipped bit of a good file is either refused or harmless.
TEST(SafetensorsHeader, SurvivesEveryTruncationAndBitFlip) {
  const std::string good = Golden();
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(Parse(good.substr(0, n)).ok()) << n;
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
    const auto header = Parse(bad);
    if (!header.ok()) continue;
    for (const StoredTensor& t : header->tensors) {
      EXPECT_LE(header->data_begin + t.end, bad.size());
    }
  }
}

}  // namespace
}  // namespace quantd
