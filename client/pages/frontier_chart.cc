#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/pages/chart.h"
#include "client/pages/document.h"
#include "client/pages/format.h"
#include "client/pages/plan_charts.h"

namespace quantd::pages {
namespace {

// Where the drawing's parts lie.
struct Frame {
  Scale x;
  Scale y;
  Box plot;
  Point At(const PlanTotals& totals) const {
    return {x.At(totals.bits_per_weight), y.At(totals.error)};
  }
  bool Has(const PlanTotals& totals) const {
    return x.Has(totals.bits_per_weight) && y.Has(totals.error);
  }
};

Frame FrameOf(const PlanPage& page, double width, double height) {
  std::vector<double> bits = {page.plan.bits_per_weight};
  std::vector<double> errors = {page.plan.error};
  const auto add = [&](const PlanTotals& totals) {
    bits.push_back(totals.bits_per_weight);
    errors.push_back(totals.error);
  };
  for (const PlanTotals& totals : page.frontier) add(totals);
  for (const PlanPage::Uniform& uniform : page.uniform) add(uniform.totals);
  const Box plot = {66, 34, width - 14, height - 42};
  return {Scale::OfBits(bits, plot.left + 10, plot.right - 10, width > kNarrow ? 10 : 6),
          Scale::Log(errors, plot.bottom - 8, plot.top + 8, 9), plot};
}

// The part of the frontier with errors above 0: the rest has no height on a logarithmic axis.
std::vector<Point> FrontierLine(const PlanPage& page, const Frame& frame) {
  std::vector<Point> line;
  for (const PlanTotals& totals : page.frontier) {
    if (frame.Has(totals) && totals.error > 0) line.push_back(frame.At(totals));
  }
  return line;
}

bool IsBest(const PlanPage& page, size_t i) { return static_cast<int>(i) == page.best_uniform; }

// Of the plan first: who asks first gets the better place.
std::vector<LabelWish> Wishes(const PlanPage& page, const Frame& frame, bool names) {
  std::vector<LabelWish> wishes;
  if (frame.Has(page.plan)) {
    wishes.push_back({frame.At(page.plan), 6, "this plan", "good halo"});
  }
  for (const bool best : {true, false}) {
    for (size_t i = 0; i < page.uniform.size(); ++i) {
      const PlanPage::Uniform& uniform = page.uniform[i];
      if (IsBest(page, i) != best || !frame.Has(uniform.totals)) continue;
      const std::string text = names ? Shorten(uniform.name, 150, 11) : absl::StrCat(i + 1);
      wishes.push_back(
          {frame.At(uniform.totals), best ? 8.5 : 4.5, text, best ? "poor halo" : "soft halo"});
    }
  }
  return wishes;
}

void DrawWords(Svg* svg, const PlanPage& page, const Frame& frame) {
  std::vector<Box> taken;
  const std::vector<Point> line = FrontierLine(page, frame);
  for (const Box& box : BoxesAlong(line)) taken.push_back(box);
  const Box bounds = {frame.plot.left + 2, frame.plot.top, frame.plot.right, frame.plot.bottom - 2};
  constexpr size_t kMostNames = 12;
  const bool may_name = svg->width() > kNarrow && page.uniform.size() <= kMostNames;
  for (const bool names : {true, false}) {
    if (names && !may_name) continue;
    const std::vector<LabelWish> wishes = Wishes(page, frame, names);
    const auto places = PlaceLabels(wishes, taken, bounds);
    const bool all =
        std::all_of(places.begin(), places.end(), [](const auto& p) { return p.has_value(); });
    if (names && !all) continue;
    DrawLabels(svg, wishes, places);
    return;
  }
}

std::string Title(absl::string_view name, const PlanTotals& totals) {
  return absl::StrCat(name, ": ", Bits(totals.bits_per_weight), " bits, error ",
                      Number(totals.error));
}

void DrawUniform(Svg* svg, const PlanPage& page, const Frame& frame, bool best) {
  for (size_t i = 0; i < page.uniform.size(); ++i) {
    const PlanPage::Uniform& uniform = page.uniform[i];
    if (IsBest(page, i) != best || !frame.Has(uniform.totals)) continue;
    svg->BeginGroup(Title(uniform.name, uniform.totals));
    if (best) {
      svg->Diamond(frame.At(uniform.totals), 8.5, "stroke poor");
    } else {
      svg->Circle(frame.At(uniform.totals), 3.8, "before");
    }
    svg->EndGroup();
  }
}

// The best uniform plan last and hollow: it may lie where this plan lies.
void DrawPoints(Svg* svg, const PlanPage& page, const Frame& frame) {
  DrawUniform(svg, page, frame, false);
  if (frame.Has(page.plan)) {
    svg->BeginGroup(Title("this plan", page.plan));
    svg->Circle(frame.At(page.plan), 6, "good ring");
    svg->EndGroup();
  }
  DrawUniform(svg, page, frame, true);
}

std::string Draw(const PlanPage& page, double width, double height) {
  const Frame frame = FrameOf(page, width, height);
  Svg svg(width, height,
          absl::StrCat("Least error by bits per weight. The plan: ",
                       Bits(page.plan.bits_per_weight), " bits, error ", Number(page.plan.error),
                       page.uniform.empty() ? "." : "; uniform plans for comparison."));
  DrawYAxis(&svg, frame.y, frame.plot,
            absl::StrCat("relative error of ", page.error_of, ", logarithmic"));
  DrawXAxis(&svg, frame.x, frame.plot, "bits per weight, all-in");
  const std::vector<Point> line = FrontierLine(page, frame);
  svg.Polyline(line, "line");
  DrawPoints(&svg, page, frame);
  DrawWords(&svg, page, frame);
  return svg.Html();
}

std::string ChangeCell(double from, double to) {
  const std::string figure = ChangeFigure(from, to);
  return figure.empty() ? "–" : figure;
}

// Numbered as in the drawing, where names find no room there.
std::string UniformTable(const PlanPage& page) {
  Table table({{"Plan"}, {"Bits", true}, {"Error", true}, {"vs plan", true}});
  const auto add = [&](absl::string_view name, const PlanTotals& totals, bool is_plan) {
    table.AddRow({std::string(name), Bits(totals.bits_per_weight), Number(totals.error),
                  is_plan ? "" : ChangeCell(page.plan.error, totals.error)});
  };
  add("<span class=\"good\">● this plan</span>", page.plan, true);
  for (size_t i = 0; i < page.uniform.size(); ++i) {
    const std::string name = absl::StrCat(i + 1, "\u00A0", NameCell(page.uniform[i].name));
    add(IsBest(page, i) ? absl::StrCat("<span class=\"poor\">◇\u00A0", name, "</span> (best)")
                        : absl::StrCat("○\u00A0", name),
        page.uniform[i].totals, false);
  }
  return table.Html("This plan and the uniform plans");
}

}  // namespace

std::string FrontierChart(const PlanPage& page) {
  if (page.layers.empty() && page.frontier.empty() && page.uniform.empty()) return "";
  const std::string drawings = TwoWidths(Draw(page, kHalf, 440), Draw(page, kNarrow, 380));
  std::string caption = page.frontier.size() > 1
                            ? "The line is the least error that any choice of precision by layer "
                              "can have at each size. "
                            : "";
  if (page.uniform.empty()) return absl::StrCat(Caption(caption), drawings);
  absl::StrAppend(&caption,
                  "Circles are uniform plans: the same precision for every layer, named or "
                  "numbered as in the table.");
  return absl::StrCat(Caption(caption), Beside(drawings, UniformTable(page)));
}

}  // namespace quantd::pages
