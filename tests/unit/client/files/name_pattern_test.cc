#include "client/files/name_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd {
namespace {

using ::testing::HasSubstr;

TEST(NamePattern, FindsAnywhereOrAtTheStart) {
  const auto pattern = NamePattern::Compile(R"(layers\.\d+\.mlp)");
  ASSERT_TRUE(pattern.ok()) << pattern.status();
  EXPECT_TRUE(*pattern->FindIn("model.layers.12.mlp.up_proj"));
  EXPECT_FALSE(*pattern->MatchesStartOf("model.layers.12.mlp.up_proj"));
  EXPECT_TRUE(*pattern->MatchesStartOf("layers.12.mlp.up_proj"));
  EXPECT_FALSE(*pattern->FindIn("model.layers.12.MLP.up_proj"));
}

TEST(NamePattern, EndsSoonWhateverThePattern) {
  const std::string name(NamePattern::kMaxName, 'z');
  for (const char* text : {"(.*)*(.*)*zzy", "(z+)+y", "((a*)*)*b", "(z|zz)*y"}) {
    const auto pattern = NamePattern::Compile(text);
    ASSERT_TRUE(pattern.ok()) << pattern.status();
    EXPECT_FALSE(*pattern->FindIn(name)) << text;
  }
}

TEST(NamePattern, RefusesWhatItCannotCompile) {
  for (const char* text :
       {"", "(unclosed", "a(?=b)", R"((a)\1)", "((a{1,1000}){1,1000}){1,1000}"}) {
    const auto pattern = NamePattern::Compile(text);
    EXPECT_EQ(pattern.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(pattern.status().message()), HasSubstr("regular expression")) << text;
  }
  EXPECT_FALSE(NamePattern::Compile("a")->FindIn(std::string(5000, 'a')).ok());
}

}  // namespace
}  // namespace quantd
