#include "client/pages/plan_page.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "client/pages/bit_map.h"
#include "client/pages/document.h"
#include "client/pages/format.h"
#include "client/pages/pair_chart.h"
#include "client/pages/plan_charts.h"

namespace quantd {
namespace pages {
namespace {

const PlanPage::Uniform* BestUniform(const PlanPage& page) {
  const bool known = page.best_uniform >= 0 && page.best_uniform < page.uniform.size();
  return known ? &page.uniform[page.best_uniform] : nullptr;
}

std::string Against(const PlanTotals& plan, const PlanPage::Uniform& best) {
  const std::string error = Change(best.totals.error, plan.error, {"lower", "higher", "high"});
  const std::string size = Change(static_cast<double>(best.totals.bytes),
                                  static_cast<double>(plan.bytes), {"smaller", "larger", "large"});
  return absl::StrCat(" Against the best uniform plan, ", best.name, " (",
                      Bits(best.totals.bits_per_weight), " bits, error ", Number(best.totals.error),
                      "), the error is ", error, " and the size ", size == "the same" ? "" : "is ",
                      size, ".");
}

std::string Lead(const PlanPage& page) {
  if (page.layers.empty()) return "There are no layers to plan for.";
  std::string text =
      absl::StrCat("The plan stores ", Counted(page.layers.size(), "layer"), " at ",
                   Bits(page.plan.bits_per_weight), " bits per weight with a relative error of ",
                   Number(page.plan.error), " of the ", page.error_of, ".");
  if (const PlanPage::Uniform* best = BestUniform(page)) {
    return text + Against(page.plan, *best);
  }
  if (!page.uniform.empty()) text += " No uniform plan meets the goal.";
  return text;
}

std::string HeadFigures(const PlanPage& page) {
  std::vector<std::pair<std::string, std::string>> figures = {
      {Number(page.plan.bits_per_weight), "bits per weight"},
      {Bytes(page.plan.bytes), "for all layers"},
      {Number(page.plan.error), absl::StrCat("relative error of ", page.error_of)}};
  if (const PlanPage::Uniform* best = BestUniform(page)) {
    const std::string change = ChangeFigure(best->totals.error, page.plan.error);
    if (!change.empty()) figures.emplace_back(change, "error against the best uniform plan");
  }
  return Figures(figures);
}

std::string Head(const PlanPage& page) {
  const std::string goal =
      page.goal.empty() ? ""
                        : absl::StrCat("<p class=\"goal\">Goal: ", Escape(page.goal), "</p>\n");
  return absl::StrCat("<header>\n<p class=\"kind\">Plan of mixed precision</p>\n<h1>",
                      Escape(page.title), "</h1>\n", goal, "<p class=\"lead\">", Escape(Lead(page)),
                      "</p>\n", HeadFigures(page), Facts(page.facts), "</header>\n");
}

std::string BitSection(const PlanPage& page) {
  std::vector<BitCell> cells;
  cells.reserve(page.layers.size());
  for (const PlanPageLayer& layer : page.layers) {
    cells.push_back({layer.name, layer.bits, layer.parameters,
                     absl::StrCat(layer.name, ": ", layer.chosen, ", ", Bits(layer.bits),
                                  " bits, error ", Number(layer.error))});
  }
  return Section("Bits of each layer", BitMap(cells));
}

Pair PairOf(const PlanPageLayer& layer, bool compare) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  Pair pair;
  pair.name = layer.name;
  pair.before = compare ? layer.uniform_error : kNone;
  pair.after = layer.error;
  if (compare && layer.error > layer.uniform_error) pair.mark = PairMark::kPoor;
  if (!std::isfinite(layer.error)) pair.mark = PairMark::kBad;
  pair.title = absl::StrCat(layer.name, ": error ", Number(layer.error));
  if (compare) absl::StrAppend(&pair.title, ", uniform ", Number(layer.uniform_error));
  return pair;
}

std::string ErrorSection(const PlanPage& page) {
  const PlanPage::Uniform* best = BestUniform(page);
  std::vector<Pair> pairs;
  pairs.reserve(page.layers.size());
  for (const PlanPageLayer& layer : page.layers) pairs.push_back(PairOf(layer, best != nullptr));
  PairWords words;
  words.before = best == nullptr ? "" : absl::StrCat("uniform: ", best->name);
  words.good = best == nullptr ? "this plan" : "this plan, no more error than uniform";
  words.poor = "this plan, more error than uniform";
  words.bad = "no error known";
  words.axis = absl::StrCat("relative error of ", page.error_of);
  const std::string caption =
      best == nullptr ? ""
                      : Caption(
                            "What the plan gives each layer, and what the best uniform plan "
                            "would. A plan takes bits from layers that bear it and gives "
                            "them to others, so that some errors rise.");
  return Section("Error of each layer", absl::StrCat(caption, PairChart(pairs, words)));
}

std::string LayerTable(const PlanPage& page) {
  const bool compare = BestUniform(page) != nullptr;
  std::vector<Table::Column> columns = {
      {"Layer"}, {"Parameters", true}, {"Chosen"}, {"Bits", true}, {"Error", true}};
  if (compare) columns.push_back({"Uniform error", true});
  Table table(columns);
  for (const PlanPageLayer& layer : page.layers) {
    std::vector<std::string> cells = {NameCell(layer.name), Count(layer.parameters),
                                      Escape(layer.chosen), Bits(layer.bits), Number(layer.error)};
    if (compare) cells.push_back(Number(layer.uniform_error));
    table.AddRow(cells);
  }
  return Section("Layers", table.Foldable("All layers"));
}

}  // namespace
}  // namespace pages

std::string RenderPlanPage(const PlanPage& page) {
  std::string body = pages::Head(page);
  if (const std::string chart = pages::FrontierChart(page); !chart.empty()) {
    absl::StrAppend(&body, pages::Section("Error and size", chart));
  }
  if (!page.layers.empty()) {
    absl::StrAppend(&body, pages::BitSection(page), pages::ErrorSection(page));
  }
  if (const std::string chart = pages::LawChart(page); !chart.empty()) {
    absl::StrAppend(&body, pages::Section("Expected loss of quality", chart));
  }
  if (!page.layers.empty()) absl::StrAppend(&body, pages::LayerTable(page));
  return pages::Document(absl::StrCat(page.title, ": plan"), body);
}

}  // namespace quantd
