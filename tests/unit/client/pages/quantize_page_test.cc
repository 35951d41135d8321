#include "client/pages/quantize_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/unit/client/pages/page_check.h"

namespace quantd {
namespace {

using pages::Complaints;
using pages::ParsedPage;
using pages::ParsePage;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

QuantizePageLayer LayerOf(int i) {
  QuantizePageLayer layer;
  TensorReport& report = layer.report;
  report.name = absl::StrCat("decoder.block.", i / 3, ".part", i % 3);
  report.outcome = Outcome::kOk;
  report.rows = 64;
  report.cols = 128;
  report.all_in_bits_per_weight = 4.125;
  report.error.output_relative_error = 0.002 * (1 + i % 5);
  report.error.weight_relative_error = 0.03;
  report.error.sqnr_db = 15.2;
  report.rtn_baseline = report.error;
  report.rtn_baseline->output_relative_error = 0.02;
  report.rtn_baseline->weight_relative_error = 0.04;
  report.seconds = 1 + i;
  layer.spec = "gptq int4 g128";
  return layer;
}

QuantizePage PageOf(int layers) {
  QuantizePage page;
  page.title = "model";
  page.facts = {{"Method", "gptq"}};
  for (int i = 0; i < layers; ++i) page.layers.push_back(LayerOf(i));
  page.seconds = {0.5, 0.1, 3, 20, 2, 26};
  return page;
}

void Reject(QuantizePageLayer* layer, const std::string& reason) {
  layer->report.outcome = Outcome::kRejected;
  layer->report.reason = reason;
  layer->report.error = {};
  layer->report.rtn_baseline.reset();
  layer->report.all_in_bits_per_weight = 0;
}

// What stands over `label` among the large numbers of the head.
std::string Figure(const ParsedPage& page, const std::string& label) {
  for (const pages::Element& element : page.elements) {
    if (element.name != "dt" || element.text != label) continue;
    for (const pages::Element* number : page.All("dd")) {
      if (number->parent == element.parent) return number->text;
    }
  }
  return "not there";
}

TEST(QuantizePageTest, CountsInTheHeadAreThoseOfTheLayers) {
  QuantizePage page = PageOf(7);
  page.layers[1].report.outcome = page.layers[2].report.outcome = Outcome::kDegraded;
  Reject(&page.layers[4], "not finite");
  const std::string html = RenderQuantizePage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  const ParsedPage parsed = ParsePage(html);
  EXPECT_EQ(Figure(parsed, "layers"), "7");
  EXPECT_EQ(Figure(parsed, "weights"), "57,344");
  EXPECT_EQ(Figure(parsed, "OK"), "4");
  EXPECT_EQ(Figure(parsed, "DEGRADED"), "2");
  EXPECT_EQ(Figure(parsed, "REJECTED"), "1");
  // What was not delivered has no bits.
  EXPECT_EQ(Figure(parsed, "bits per weight, all-in"), "4.125");
}

TEST(QuantizePageTest, EveryLayerIsInTheTableHoweverManyThereAre) {
  for (const int layers : {1, 3, 64, 65, 500}) {
    const QuantizePage page = PageOf(layers);
    const std::string html = RenderQuantizePage(page);
    EXPECT_THAT(Complaints(html), IsEmpty()) << layers;
    std::set<std::string> names;
    const ParsedPage parsed = ParsePage(html);
    for (const pages::Element* cell : parsed.All("th")) names.insert(cell->text);
    for (const auto& layer : page.layers) EXPECT_TRUE(names.contains(layer.report.name));
  }
}

TEST(QuantizePageTest, TenThousandLayersMakeAPageOfSensibleSize) {
  const std::string html = RenderQuantizePage(PageOf(10'000));
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_LT(html.size(), 1'500'000);
  EXPECT_THAT(html, HasSubstr("8,000 are left out"));
}

TEST(QuantizePageTest, NoLayersAreStillAPage) {
  const std::string html = RenderQuantizePage(QuantizePage());
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_THAT(html, HasSubstr("No layers were quantized."));
}

TEST(QuantizePageTest, TroubleComesFirstWithItsReasonsThenNotes) {
  QuantizePage page = PageOf(6);
  page.layers[1].report.outcome = Outcome::kDegraded;
  page.layers[1].report.reason = "descent & rounding";
  Reject(&page.layers[3], "3 values <not finite>");
  for (const int i : {0, 2, 4, 5}) page.layers[i].report.notes = {"2 of 128 columns kept F16"};
  const std::string html = RenderQuantizePage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  const size_t rejected = html.find("<td>3 values &lt;not finite&gt;</td>");
  const size_t degraded = html.find("<td>descent &amp; rounding</td>");
  const size_t note = html.find("2 of 128 columns kept F16</th><td class=\"n\">4</td>");
  ASSERT_NE(note, std::string::npos);
  EXPECT_LT(rejected, degraded);
  EXPECT_LT(degraded, note);
  EXPECT_THAT(html, HasSubstr("and 1 other"));
}

TEST(QuantizePageTest, ARunWithoutTroubleSaysSo) {
  EXPECT_THAT(RenderQuantizePage(PageOf(3)), HasSubstr("Every layer ended as its spec asked."));
}

TEST(QuantizePageTest, ErrorsOfOutputsGoBeforeErrorsOfWeightsAndThePageSaysWhich) {
  QuantizePage page = PageOf(3);
  std::string html = RenderQuantizePage(page);
  EXPECT_THAT(html, HasSubstr("Error: relative error of layer outputs."));
  EXPECT_THAT(html, HasSubstr("<td class=\"n\">0.002</td><td class=\"n\">0.02</td>"));

  page.layers[1].report.error.output_relative_error.reset();
  html = RenderQuantizePage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_THAT(html, HasSubstr("marked (w)"));
  EXPECT_THAT(html, HasSubstr("decoder.block.0.part1 (w)"));
  // Compared with the baseline's error of the same kind.
  EXPECT_THAT(html,
              HasSubstr("<td>weights</td><td class=\"n\">0.03</td><td class=\"n\">0.04</td>"));

  for (auto& layer : page.layers) layer.report.error.output_relative_error.reset();
  html = RenderQuantizePage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_THAT(html, HasSubstr("Error: relative error of weights."));
  EXPECT_THAT(html, Not(HasSubstr("(w)")));
}

TEST(QuantizePageTest, ARejectedLayerHasNoErrorNotAnErrorOfZero) {
  QuantizePage page = PageOf(2);
  Reject(&page.layers.front(), "why not");
  const std::string html = RenderQuantizePage(page);
  EXPECT_THAT(html, HasSubstr(">no error</text>"));
  const ParsedPage parsed = ParsePage(html);
  for (const pages::Element* text : parsed.All("text")) EXPECT_NE(text->text, "0");
  EXPECT_THAT(html,
              HasSubstr("<td class=\"n\">–</td><td class=\"n\">–</td><td class=\"n\">–</td>"));
}

TEST(QuantizePageTest, AnErrorOfZeroHasItsPlaceOnTheAxis) {
  QuantizePage page = PageOf(4);
  page.layers[2].report.error.output_relative_error = 0;
  const std::string html = RenderQuantizePage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_THAT(html, HasSubstr(">0</text>"));
}

TEST(QuantizePageTest, ValuesOfNoMeaningBreakNothing) {
  const double nan = std::nan("");
  const double inf = std::numeric_limits<double>::infinity();
  for (const double value : {nan, inf, -inf, 0.0, -1.0, 1e-320, 1e308}) {
    QuantizePage page = PageOf(6);
    for (auto& layer : page.layers) {
      TensorReport& report = layer.report;
      report.all_in_bits_per_weight = report.seconds = report.error.sqnr_db = value;
      report.error.output_relative_error = value;
      report.rtn_baseline->output_relative_error = value;
    }
    page.layers[0].report.rows = -4;
    page.layers[1].report.outcome = Outcome::kUnspecified;
    page.seconds = {value, value, value, value, value, value};
    const std::string html = RenderQuantizePage(page);
    EXPECT_THAT(Complaints(html), IsEmpty()) << value;
    EXPECT_THAT(html, Not(HasSubstr(" nan"))) << value;
    EXPECT_THAT(html, Not(HasSubstr(" inf"))) << value;
  }
}

TEST(QuantizePageTest, HostileWordsStayWords) {
  const std::string evil = "<script src='x'>&\"]]>\x02\xc3";
  QuantizePage page = PageOf(4);
  page.title = evil;
  page.facts = {{evil, evil}};
  page.layers[0].report.name = page.layers[0].spec = page.layers[0].folded_into = evil;
  page.layers[0].report.notes = {evil};
  page.layers[1].report.outcome = Outcome::kDegraded;
  page.layers[1].report.reason = page.layers[1].report.name = evil;
  const std::string html = RenderQuantizePage(page);
  EXPECT_THAT(Complaints(html), IsEmpty());
  EXPECT_THAT(html, Not(HasSubstr("<script")));
}

TEST(QuantizePageTest, StagesAndTheSlowestLayersAreListed) {
  const std::string html = RenderQuantizePage(PageOf(30));
  for (const char* row :
       {"<th scope=\"row\">solve</th><td class=\"n\">20 s</td><td class=\"n\">77%</td>",
        "<th scope=\"row\">other</th><td class=\"n\">0.40 s</td>"}) {
    EXPECT_THAT(html, HasSubstr(row));
  }
  const size_t start = html.find("<h3>Slowest layers</h3>");
  ASSERT_NE(start, std::string::npos);
  const std::string table = html.substr(start, html.find("</table>", start) - start);
  const ParsedPage parsed = ParsePage(absl::StrCat("<div>", table, "</table></div></div>"));
  ASSERT_EQ(parsed.error, "");
  ASSERT_EQ(parsed.All("tr").size(), 11);
  EXPECT_THAT(parsed.All("tr")[1]->text, HasSubstr("decoder.block.9.part2"));
  EXPECT_THAT(parsed.All("tr")[10]->text, HasSubstr("decoder.block.6.part2"));
}

TEST(QuantizePageTest, AFoldedScaleIsNoted) {
  QuantizePage page = PageOf(2);
  page.layers[1].folded_into = "norm1";
  const std::string html = RenderQuantizePage(page);
  EXPECT_THAT(html, HasSubstr("<td>gptq int4 g128, column scale folded into norm1</td>"));
  EXPECT_THAT(html, HasSubstr("column scale folded into a norm"));
}

}  // namespace
}  // namespace quantd
