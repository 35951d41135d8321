#include "client/cli/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

TEST(RecipeTest, LaterRulesAndFlagsOverrideInOrder) {
  auto recipe = ParseRecipe(R"(
defaults:
  bits: 4
  group-size: 64
rules:
  - match: mlp
    bits: 8
  - match: 'mlp\.down'
    group-size: row
  - match: 'layers\.0\.'
    skip: true
  - match: 'layers\.0\.mlp\.up'
    skip: false
)",
                            "r.yaml");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  SpecChoice flags;
  ASSERT_TRUE(SetField("bits", "3", &flags).ok());
  const auto field = [&](const std::string& module, const SpecChoice& choice, const char* name) {
    return (*recipe->For(module, choice))->fields.at(name);
  };
  EXPECT_EQ(field("layers.1.attn.q", {}, "bits"), "4");
  EXPECT_EQ(field("layers.1.attn.q", flags, "bits"), "3");
  EXPECT_EQ(field("layers.1.mlp.up", flags, "bits"), "8");
  EXPECT_EQ(field("layers.1.mlp.down", flags, "granularity"), "row");
  EXPECT_EQ(field("layers.1.mlp.down", flags, "bits"), "8");
  EXPECT_FALSE(recipe->For("layers.0.attn.q", flags)->has_value());
  EXPECT_TRUE(recipe->For("layers.0.mlp.up", flags)->has_value());
}

TEST(RecipeTest, ASchemeLiesOnTopLikeAnyKey) {
  auto recipe = ParseRecipe(R"(
defaults:
  method: aqlm
  in-group: 16
  scheme: 2x8
  beam: 8
rules:
  - match: mlp
    scheme: 1x16
  - match: 'mlp\.down'
    codebook-bits: 12
)",
                            "r.yaml");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  const auto levels = [&](const char* module) {
    const absl::StatusOr<Spec> spec = ResolveSpec(**recipe->For(module, {}));
    EXPECT_TRUE(spec.ok()) << spec.status();
    return spec->levels;
  };
  EXPECT_EQ(levels("attn.q").codebooks, 2);
  EXPECT_EQ(levels("attn.q").in_group, 8);  // the key that stands later
  EXPECT_EQ(levels("mlp.up").codebooks, 1);
  EXPECT_EQ(levels("mlp.up").codebook_bits, 16);
  EXPECT_EQ(levels("mlp.down").codebooks, 1);
  EXPECT_EQ(levels("mlp.down").codebook_bits, 12);
}

TEST(RecipeTest, ModulesAreWholePaths) {
  auto recipe = ParseRecipe(R"(
layout: plain
rules:
  - modules: [a.0.q, 'a.0.k']
    bits: 3
  - modules:
      - a.0.k
    skip: true
)",
                            "r.yaml");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->layout, "plain");
  EXPECT_EQ((*recipe->For("a.0.q", {}))->fields.at("bits"), "3");
  EXPECT_FALSE((*recipe->For("a.0.q_norm", {}))->Has("bits"));
  EXPECT_FALSE((*recipe->For("b.a.0.q", {}))->Has("bits"));
  EXPECT_FALSE(recipe->For("a.0.k", {})->has_value());
  EXPECT_EQ(recipe->rules[0].Title(), "of 2 modules");
}

TEST(RecipeTest, AnEmptyFileChangesNothing) {
  auto recipe = ParseRecipe("# nothing\n", "r.yaml");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  SpecChoice flags;
  ASSERT_TRUE(SetField("bits", "5", &flags).ok());
  EXPECT_EQ((*recipe->For("m", flags))->fields.at("bits"), "5");
}

TEST(RecipeTest, MistakesNameLineKeyAndValue) {
  const struct {
    const char* yaml;
    const char* where;
    const char* said;
  } cases[] = {
      {"defaults:\n  bitz: 4\n", "r.yaml:2", "bitz"},
      {"defaults:\n  bitz: 4\n", "r.yaml:2", "kept-columns"},  // the known ones are listed
      {"defaults:\n  outliers: many\n", "r.yaml:2", "many"},
      {"defaults:\n  bits: 11\n", "r.yaml:2", "11"},
      {"defaults:\n  bitz: 4\n", "r.yaml:2", "scheme"},
      {"defaults:\n  method: aqlm\n  scheme: 2by8\n", "r.yaml:3", "\"2by8\" is not MxB[gI][oO]"},
      {"defaults:\n  scheme: 2x99\n", "r.yaml:2", "codebook-bits: 99 is not in 1..16"},
      {"defaults:\n  bits: [4]\n", "r.yaml:2", "bits"},
      {"rule:\n  - match: x\n", "r.yaml:1", "rule"},
      {"rules:\n  - bits: 4\n", "r.yaml:2", "match"},
      {"rules:\n  - match: x\n", "r.yaml:2", "changes nothing"},
      {"rules:\n  - match: '('\n    bits: 4\n", "r.yaml:2", "regular expression"},
      {"rules:\n  - match: x\n    skip: maybe\n", "r.yaml:3", "maybe"},
      {"rules:\n  - match: x\n    colour: red\n", "r.yaml:3", "colour"},
      {"rules:\n  match: x\n", "r.yaml:2", "list"},
      {"defaults:\n  bits: 4\n  bits: 8\n", "r.yaml:3", "twice"},
      {"rules:\n  - match: x\n    modules: [a]\n    bits: 4\n", "r.yaml:2", "one of the keys"},
      {"rules:\n  - modules: a\n    bits: 4\n", "r.yaml:2", "list of module paths"},
      {"rules:\n  - modules: []\n    bits: 4\n", "r.yaml:2", "list of module paths"},
      {"rules:\n  - modules: [a, a]\n    bits: 4\n", "r.yaml:2", "twice"},
      {"rules:\n  - modules: [a]\n", "r.yaml:2", "the rule of 1 module changes nothing"},
      {"layout: ggup\n", "r.yaml:1", "ggup"},
      {"- a\n- b\n", "r.yaml:1", "map"},
      {"defaults: {bits: 4\n", "r.yaml:", ""},
  };
  for (const auto& c : cases) {
    auto recipe = ParseRecipe(c.yaml, "r.yaml");
    ASSERT_EQ(recipe.status().code(), absl::StatusCode::kInvalidArgument) << c.yaml;
    EXPECT_THAT(std::string(recipe.status().message()), HasSubstr(c.where)) << c.yaml;
    EXPECT_THAT(std::string(recipe.status().message()), HasSubstr(c.said)) << c.yaml;
  }
}

TEST(RecipeTest, AMissingFileIsNamed) {
  auto recipe = ReadRecipe("/no/such/recipe.yaml");
  EXPECT_EQ(recipe.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(recipe.status().message()), HasSubstr("/no/such/recipe.yaml"));
}

}  // namespace
}  // namespace quantd::cli
