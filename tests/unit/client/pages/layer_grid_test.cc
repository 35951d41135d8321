#include "client/pages/layer_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace quantd::pages {
namespace {

using ::testing::ElementsAre;

TEST(LayerGridTest, KindsAreRowsAndBlocksColumns) {
  const auto grid = FindGrid({"encoder.layer.0.attention.query", "encoder.layer.0.output",
                              "encoder.layer.1.attention.query", "encoder.layer.1.output",
                              "encoder.layer.10.output", "pooler.dense"});
  ASSERT_TRUE(grid.has_value());
  EXPECT_THAT(grid->kinds, ElementsAre("attention.query", "output"));
  EXPECT_THAT(grid->blocks, ElementsAre(0, 1, 10));
  EXPECT_THAT(grid->cells, ElementsAre(ElementsAre(0, 2, -1), ElementsAre(1, 3, 4)));
  EXPECT_THAT(grid->others, ElementsAre(5));
}

TEST(LayerGridTest, AllUsualNamesOfBlocksAreKnown) {
  for (const char* name : {"model.layers", "bert.encoder.layer", "transformer.h", "vit.blocks"}) {
    EXPECT_TRUE(FindGrid({absl::StrCat(name, ".0.fc"), absl::StrCat(name, ".1.fc")}).has_value())
        << name;
  }
}

TEST(LayerGridTest, TowersAreToldApart) {
  const auto grid = FindGrid({"model.encoder.layers.0.fc1", "model.encoder.layers.1.fc1",
                              "model.decoder.layers.0.fc1", "model.decoder.layers.1.fc1"});
  ASSERT_TRUE(grid.has_value());
  EXPECT_THAT(grid->kinds, ElementsAre("encoder fc1", "decoder fc1"));
}

TEST(LayerGridTest, NoGridWhereItWouldNotHelp) {
  EXPECT_FALSE(FindGrid({}).has_value());
  EXPECT_FALSE(FindGrid({"a.weight", "b.weight"}).has_value());
  EXPECT_FALSE(FindGrid({"layers.0.fc"}).has_value());
  EXPECT_FALSE(FindGrid({"layers.x.fc", "layers.y.fc"}).has_value());
  EXPECT_FALSE(FindGrid({"layers.0.fc", "layers.1.fc", "layers.1.fc"}).has_value());
  EXPECT_FALSE(FindGrid({"layers.0.a", "layers.1.b", "layers.2.c", "layers.3.d"}).has_value());
  std::vector<std::string> experts;
  for (int e = 0; e < 64; ++e) {
    for (int b = 0; b < 2; ++b) experts.push_back(absl::StrCat("layers.", b, ".experts.", e));
  }
  EXPECT_FALSE(FindGrid(experts).has_value());
}

}  // namespace
}  // namespace quantd::pages
