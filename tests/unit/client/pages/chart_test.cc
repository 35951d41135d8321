#include "client/pages/chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace quantd::pages {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;

TEST(ChartTest, LabelsCoverNeitherEachOtherNorTheLineNorMarks) {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> near(200, 290);
  const std::vector<Point> line = {{0, 150}, {300, 260}, {600, 390}};
  const Box bounds = {0, 0, 600, 400};
  for (int trial = 0; trial < 20; ++trial) {
    std::vector<LabelWish> wishes;
    wishes.reserve(6);
    for (int i = 0; i < 6; ++i) {
      wishes.push_back({{near(random), near(random)}, 4, "gptq int4 g128", ""});
    }
    const auto places = PlaceLabels(wishes, BoxesAlong(line), bounds);
    for (const auto& place : places) ASSERT_TRUE(place.has_value());
    for (size_t i = 0; i < places.size(); ++i) {
      const Box& box = places[i]->box;
      EXPECT_GE(box.left, 0);
      EXPECT_LE(box.right, 600);
      for (size_t j = 0; j < i; ++j) EXPECT_FALSE(Overlap(box, places[j]->box));
      for (const Box& step : BoxesAlong(line)) EXPECT_FALSE(Overlap(box, step));
      for (const LabelWish& wish : wishes) {
        const Point& p = wish.point;
        EXPECT_FALSE(Overlap(box, {p.x - 4, p.y - 4, p.x + 4, p.y + 4}));
      }
    }
  }
}

TEST(ChartTest, LabelsWithoutRoomAreNotForced) {
  const std::vector<LabelWish> wishes = {{{10, 10}, 4, "much wider than the room that it has", ""}};
  EXPECT_FALSE(PlaceLabels(wishes, {}, {0, 0, 60, 20})[0].has_value());
}

TEST(ChartTest, SpreadingKeepsOrderAndDistance) {
  EXPECT_THAT(SpreadOut({50, 52, 10}, 14, 0, 100),
              ElementsAre(DoubleNear(50, 1e-9), DoubleNear(64, 1e-9), DoubleNear(10, 1e-9)));
  EXPECT_THAT(SpreadOut({99, 98}, 10, 0, 100), ElementsAre(100, 90));
  const std::vector<double> crowded = SpreadOut(std::vector<double>(11, 50.0), 20, 0, 100);
  EXPECT_NEAR(crowded.front(), 0, 1e-9);
  EXPECT_NEAR(crowded.back(), 100, 1e-9);
  EXPECT_TRUE(std::is_sorted(crowded.begin(), crowded.end()));
  EXPECT_TRUE(SpreadOut({}, 20, 0, 100).empty());
}

}  // namespace
}  // namespace quantd::pages
