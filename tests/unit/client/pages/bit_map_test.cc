#include "client/pages/bit_map.h"

#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/unit/client/pages/page_check.h"

namespace quantd::pages {
namespace {

std::vector<BitCell> Cells(const std::vector<double>& bits) {
  std::vector<BitCell> cells;
  cells.reserve(bits.size());
  for (const double b : bits) cells.push_back({absl::StrCat("n", cells.size()), b, 10, "title"});
  return cells;
}

TEST(BitMapTest, NearlyEqualBitsAreOneClass) {
  const auto classes = ClassesOf(Cells({4.126, 4.125, 3.125, 16, 4.25}));
  ASSERT_EQ(classes.size(), 4);
  EXPECT_EQ(classes[1].least, 4.125);
  EXPECT_EQ(classes[1].most, 4.126);
  EXPECT_EQ(classes[1].layers, 2);
  EXPECT_EQ(classes[1].parameters, 20);
  for (size_t i = 1; i < classes.size(); ++i) {
    EXPECT_GT(classes[i].colour, classes[i - 1].colour);
  }
}

TEST(BitMapTest, ThereAreColoursForAnyNumberOfBits) {
  std::vector<double> bits;
  for (double b = 1; b <= 32; b += 0.1) bits.push_back(b);
  const auto classes = ClassesOf(Cells(bits));
  EXPECT_LE(classes.size(), 7);
  EXPECT_GE(classes.size(), 4);
  uint64_t layers = 0;
  for (const BitClass& one : classes) {
    layers += one.layers;
    EXPECT_GE(one.colour, 0);
    EXPECT_LE(one.colour, 6);
  }
  EXPECT_EQ(layers, bits.size());
}

TEST(BitMapTest, MissingBitsAreInNoClass) {
  const auto classes = ClassesOf(Cells({std::nan(""), 0, -1, INFINITY, 4}));
  ASSERT_EQ(classes.size(), 1);
  EXPECT_EQ(classes[0].layers, 1);
  EXPECT_TRUE(ClassesOf(Cells({std::nan("")})).empty());
  EXPECT_EQ(BitMap({}), "");
}

TEST(BitMapTest, AStripHasABarForEachLayerUntilTheyAreTooMany) {
  const auto bars = [](size_t n) {
    const ParsedPage page =
        ParsePage(absl::StrCat("<div>", BitMap(Cells(std::vector<double>(n, 4))), "</div>"));
    EXPECT_EQ(page.error, "");
    return page.All("g").size();
  };
  EXPECT_EQ(bars(3), 2 * 3);  // drawn in two widths
  EXPECT_EQ(bars(1000), 2 * 1000);
  EXPECT_EQ(bars(1001), 2 * 501);
}

}  // namespace
}  // namespace quantd::pages
