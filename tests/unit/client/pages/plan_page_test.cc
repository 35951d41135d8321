#include "client/pages/plan_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/unit/client/pages/page_check.h"

namespace quantd {
namespace {

using pages::Complaints;
using pages::ParsedPage;
using pages::ParsePage;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string BlockName(int i) {
  return absl::StrCat("model.layers.", i / 4, ".part", i % 4, ".proj");
}
std::string PlainName(int i) { return absl::StrCat("features", i, ".conv"); }

PlanPage PageOf(int layers, std::string (*name)(int) = PlainName) {
  PlanPage page;
  page.title = "model";
  page.goal = "4.00 bits a weight";
  page.error_of = "layer outputs";
  page.facts = {{"Statistics", "65,536 tokens"}};
  page.plan = {1'000'000, 3.97, 0.004, 1, 128};
  for (int i = 0; i < 30; ++i) {
    page.frontier.push_back({0, 2 + i * 0.45, 0.2 * std::exp(-0.6 * i), 1, 128});
  }
  page.frontier.push_back({0, 16, 0, 0, 0});
  page.uniform = {{"gptq int3 g128", {800'000, 3.13, 0.02, 1, 128}},
                  {"gptq int4 g128", {1'010'000, 4.0, 0.008, 1, 128}},
                  {"dense", {4'000'000, 16, 0, 0, 0}}};
  page.best_uniform = 1;
  for (int i = 0; i < layers; ++i) {
    const double error = 0.001 * (1 + i % 13);
    page.layers.push_back({name(i), 4096, "gptq int4 g128", i % 3 == 0 ? 3.13 : 4.13, error,
                           i % 2 == 0 ? 2 * error : error / 2});
  }
  return page;
}

// Names of the rows of the table of all layers.
std::set<std::string> NamesInTable(const ParsedPage& page) {
  std::set<std::string> names;
  for (const pages::Element* cell : page.All("th")) {
    if (cell->Attribute("scope") == "row") names.insert(cell->text);
  }
  return names;
}

TEST(PlanPageTest, EveryLayerIsInTheTableHoweverManyThereAre) {
  for (const int layers : {1, 2, 3, 37, 65, 224, 500}) {
    for (auto name : {BlockName, PlainName}) {
      const PlanPage page = PageOf(layers, name);
      const std::string html = RenderPlanPage(page);
      EXPECT_THAT(Complaints(html), IsEmpty()) << layers;
      const std::set<std::string> names = NamesInTable(ParsePage(html));
      for (const PlanPageLayer& layer : page.layers) EXPECT_TRUE(names.contains(layer.name));
    }
  }
}

TEST(PlanPageTest, TenThousandLayersMakeAPageOfSensibleSizeThatSaysWhatIsLeftOut) {
  const std::string html = RenderPlanPage(PageOf(10'000));
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_LT(html.size(), 1'500'000);
  EXPECT_THAT(html, HasSubstr("The first 2,000 of 10,000; 8,000 are left out"));
  EXPECT_THAT(html, HasSubstr("The 200 layers with the largest errors of all 10,000"));
  EXPECT_THAT(html, HasSubstr("One bar for every 10 neighbouring layers"));
}

TEST(PlanPageTest, ManyRowsAreFoldedUp) {
  EXPECT_THAT(RenderPlanPage(PageOf(60)), Not(HasSubstr("<details>")));
  EXPECT_THAT(RenderPlanPage(PageOf(61)), HasSubstr("<summary>All layers (61)</summary>"));
}

TEST(PlanPageTest, TheHeadSaysWhatThePlanIsWorth) {
  const std::string html = RenderPlanPage(PageOf(3));
  EXPECT_THAT(html, HasSubstr("The plan stores 3 layers at 3.97 bits per weight with a relative "
                              "error of 0.004 of the layer outputs. Against the best uniform plan, "
                              "gptq int4 g128 (4 bits, error 0.008), the error is 50% lower and "
                              "the size is 1.0% smaller."));
  EXPECT_THAT(html, HasSubstr("<dd>−50%</dd>"));
  EXPECT_THAT(html, HasSubstr("Goal: 4.00 bits a weight"));
  EXPECT_THAT(html, HasSubstr("65,536 tokens"));
}

TEST(PlanPageTest, APlanThatLosesSaysSo) {
  PlanPage page = PageOf(3);
  page.plan.error = 0.01;
  EXPECT_THAT(RenderPlanPage(page), HasSubstr("the error is 25% higher"));
}

TEST(PlanPageTest, WithoutAUniformPlanNothingIsCompared) {
  PlanPage page = PageOf(5);
  page.best_uniform = -1;
  std::string html = RenderPlanPage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_THAT(html, HasSubstr("No uniform plan meets the goal."));
  EXPECT_THAT(html, Not(HasSubstr("Uniform error")));
  page.uniform.clear();
  page.frontier.clear();
  page.best_uniform = 3;  // of nothing
  html = RenderPlanPage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_THAT(html, Not(HasSubstr("niform")));
}

TEST(PlanPageTest, NothingAtAllIsStillAPage) {
  const std::string html = RenderPlanPage(PlanPage());
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_THAT(html, HasSubstr("There are no layers to plan for."));
}

TEST(PlanPageTest, HostileWordsStayWords) {
  const std::string evil = "</title><script>alert('x')</script>&\"\x01\xff é層";
  PlanPage page = PageOf(4);
  page.title = page.goal = page.error_of = page.law = evil;
  page.facts = {{evil, evil}};
  page.layers[0].name = page.layers[0].chosen = evil;
  page.uniform[0].name = page.uniform[1].name = evil;
  page.law_curves = {{32, {{0.5, 0.01}, {1, 0.1}}}};
  page.law_warnings = {evil};
  const std::string html = RenderPlanPage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  const std::string safe = "</title><script>alert('x')</script>&\"\uFFFD\uFFFD é層";
  const ParsedPage parsed = ParsePage(html);
  ASSERT_EQ(parsed.All("h1").size(), 1);
  EXPECT_EQ(parsed.All("h1")[0]->text, safe);
}

TEST(PlanPageTest, LongNamesAreShortenedAndTheWholeNameIsUnderThePointer) {
  PlanPage page = PageOf(3);
  const std::string name = absl::StrCat("model.", std::string(300, 'x'), ".end");
  page.layers[1].name = name;
  const std::string html = RenderPlanPage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  const ParsedPage parsed = ParsePage(html);
  bool in_drawing = false;
  for (const pages::Element* title : parsed.All("title")) {
    in_drawing |= absl::StartsWith(title->text, absl::StrCat(name, ": "));
  }
  EXPECT_TRUE(in_drawing);
  bool in_table = false;
  for (const pages::Element* cell : parsed.All("span"))
    in_table |= cell->Attribute("title") == name;
  EXPECT_TRUE(in_table);
}

TEST(PlanPageTest, ValuesOfNoMeaningBreakNothing) {
  const double nan = std::nan("");
  const double inf = std::numeric_limits<double>::infinity();
  for (const double value : {nan, inf, -inf, 0.0, -1.0, 1e-320, 1e308}) {
    PlanPage page = PageOf(9, BlockName);
    for (PlanPageLayer& layer : page.layers) {
      layer.bits = layer.error = layer.uniform_error = value;
    }
    page.layers[2].error = 0.01;
    page.plan = {0, value, value, value, value};
    page.frontier[3] = page.uniform[1].totals = page.plan;
    page.billions = value;
    page.law_delta = value;
    page.law_curves = {{value, {{value, value}, {0.5, 0.1}, {1, value}}}, {32, {}}};
    const std::string html = RenderPlanPage(page);
    EXPECT_THAT(Complaints(html), IsEmpty()) << value;
    EXPECT_THAT(html, Not(HasSubstr(">nan"))) << value;
    EXPECT_THAT(html, Not(HasSubstr(" nan"))) << value;
    EXPECT_THAT(html, Not(HasSubstr(" inf "))) << value;
  }
}

TEST(PlanPageTest, BitsFromOneToThirtyTwoAndEqualLayersAreDrawn) {
  PlanPage page = PageOf(32);
  for (int i = 0; i < 32; ++i) page.layers[i].bits = i + 1;
  EXPECT_THAT(Complaints(RenderPlanPage(page)), IsEmpty());
  for (PlanPageLayer& layer : page.layers) layer = page.layers[0];
  EXPECT_THAT(Complaints(RenderPlanPage(page)), IsEmpty());
}

TEST(PlanPageTest, CrowdedUniformPlansAreNumberedAsInTheTable) {
  PlanPage page = PageOf(3);
  page.uniform.clear();
  for (int i = 0; i < 25; ++i) {
    page.uniform.push_back(
        {absl::StrCat("candidate ", i), {1'000'000, 3 + 0.3 * i, 0.02 / (1 + i), 1, 1}});
  }
  const std::string html = RenderPlanPage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  std::set<std::string> words;
  const ParsedPage parsed = ParsePage(html);
  for (const pages::Element* text : parsed.All("text")) words.insert(text->text);
  EXPECT_TRUE(words.contains("25"));
  EXPECT_FALSE(words.contains("candidate 24"));
}

TEST(PlanPageTest, TheLawIsDrawnWithThePlanAndItsWarnings) {
  PlanPage page = PageOf(3);
  EXPECT_THAT(RenderPlanPage(page), Not(HasSubstr("scaling law")));
  page.law = "a law of somebody";
  page.billions = 7;
  for (const double block : {32, 64, 128}) {
    page.law_curves.push_back({block, {{0, 0}, {0.5, 0.001 * block}, {1, 0.003 * block}}});
  }
  page.law_delta = 0.25;
  page.law_warnings = {"outside of its points"};
  const std::string html = RenderPlanPage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  for (const char* words : {"a law of somebody", "outside of its points", "Q_b 64", "0.25 nats",
                            "<td>28%</td>", "7 billion"}) {
    EXPECT_THAT(html, HasSubstr(words));
  }
  page.law_delta.reset();
  const std::string without = RenderPlanPage(page);
  EXPECT_THAT(Complaints(without), IsEmpty());
  EXPECT_THAT(without, Not(HasSubstr("nats</td>")));
}

TEST(PlanPageTest, TheSamePlanGivesTheSameBytes) {
  EXPECT_EQ(RenderPlanPage(PageOf(50)), RenderPlanPage(PageOf(50)));
}

}  // namespace
}  // namespace quantd
