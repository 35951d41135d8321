#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "workers/core/spec_fields.h"

namespace quantd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<int> Shape(const Spec& spec) {
  const Levels& l = spec.levels;
  return {l.codebooks, l.codebook_bits, l.in_group, l.out_group};
}

std::vector<int> ShapeOf(absl::string_view scheme) {
  Spec spec;
  spec.levels.in_group = 32, spec.levels.out_group = 4;  // what a scheme leaves out is not kept
  const absl::Status status = SetSpecField("scheme", scheme, &spec);
  EXPECT_TRUE(status.ok()) << status;
  return Shape(spec);
}

TEST(SchemeTest, IsBooksBitsColumnsRows) {
  EXPECT_THAT(ShapeOf("2x8"), ElementsAre(2, 8, 8, 1));
  EXPECT_THAT(ShapeOf("1x16"), ElementsAre(1, 16, 8, 1));
  EXPECT_THAT(ShapeOf("1x8g4"), ElementsAre(1, 8, 4, 1));
  EXPECT_THAT(ShapeOf("4x8g16"), ElementsAre(4, 8, 16, 1));
  EXPECT_THAT(ShapeOf("2x8g8o2"), ElementsAre(2, 8, 8, 2));
  EXPECT_THAT(ShapeOf("2x8o2"), ElementsAre(2, 8, 8, 2));
  EXPECT_THAT(ShapeOf("16x1g64o64"), ElementsAre(16, 1, 64, 64));
}

TEST(SchemeTest, RefusesOtherTextsWithTheGrammarAndChangesNothing) {
  for (const char* text : {"", "2", "2x", "x8", "2X8", "2x8g", "2x8o", "2x8o2g8", "2x8 ", " 2x8",
                           "2x8g8g8", "-2x8", "+2x8", "2x-8", "2.0x8", "2x8,1x16", "g8",
                           "99999999999999999999x8", "2x8g99999999999999999999"}) {
    Spec spec;
    const absl::Status status = SetSpecField("scheme", text, &spec);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(status.message(), "scheme: \"" + std::string(text) +
                                    "\" is not MxB[gI][oO], as 2x8, 1x16, 1x8g4 or 2x8g8o2");
    EXPECT_EQ(Shape(spec), Shape(Spec()));
  }
}

TEST(SchemeTest, NamesTheNumberThatIsOutOfRange) {
  for (const auto& [text, said] : std::vector<std::pair<std::string, std::string>>{
           {"17x8", "scheme: \"17x8\": codebooks: 17 is not in 1..16"},
           {"0x8", "codebooks: 0 is not in 1..16"},
           {"2x17", "codebook-bits: 17 is not in 1..16"},
           {"2x8g0", "in-group: 0 is not in 1..64"},
           {"2x8g65", "in-group: 65 is not in 1..64"},
           {"2x8g8o65", "out-group: 65 is not in 1..64"}}) {
    Spec spec;
    const absl::Status status = SetSpecField("scheme", text, &spec);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(said));
    EXPECT_EQ(Shape(spec), Shape(Spec())) << text;
  }
}

TEST(SpecShorthandTest, ItsTextSetsWhatTheSpecHas) {
  const SpecShorthand& scheme = *FindSpecShorthand("scheme");
  for (const char* text : {"2x8", "1x8g4", "2x8o2", "4x8g16o64"}) {
    Spec spec;
    ASSERT_TRUE(scheme.set(text, &spec).ok());
    EXPECT_EQ(scheme.text(spec), text);
  }
  EXPECT_EQ(FindSpecShorthand("schema"), nullptr);
}

TEST(FieldsOfKeyTest, OneForAFieldSeveralForAShorthandNoneForNothing) {
  EXPECT_THAT(FieldsOfKey("bits"), ElementsAre(FindSpecField("bits")));
  EXPECT_THAT(FieldsOfKey("levels.bits"), ElementsAre(FindSpecField("bits")));
  EXPECT_THAT(FieldsOfKey("scheme"),
              ElementsAre(FindSpecField("codebooks"), FindSpecField("codebook-bits"),
                          FindSpecField("in-group"), FindSpecField("out-group")));
  EXPECT_THAT(FieldsOfKey("colour"), IsEmpty());
}

}  // namespace
}  // namespace quantd
