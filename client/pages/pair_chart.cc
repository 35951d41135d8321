#include "client/pages/pair_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/pages/chart.h"
#include "client/pages/document.h"
#include "client/pages/format.h"
#include "client/pages/layer_grid.h"

namespace quantd::pages {
namespace {

constexpr size_t kMostOpen = 64;    // rows, before small drawings read better
constexpr size_t kMostDrawn = 200;  // rows at all

const char* ClassOf(PairMark mark) {
  return mark == PairMark::kGood ? "good" : mark == PairMark::kPoor ? "poor" : "bad";
}

void DrawMark(Svg* svg, PairMark mark, Point at, double radius) {
  if (mark == PairMark::kGood) svg->Circle(at, radius, "good");
  if (mark == PairMark::kPoor) svg->Diamond(at, radius * 1.35, "poor");
  if (mark == PairMark::kBad) svg->Cross(at, radius, "stroke bad");
}

void DrawPair(Svg* svg, const Pair& pair, const Scale& scale, bool horizontal, double across,
              double radius) {
  const auto at = [&](double value) {
    return horizontal ? Point{scale.At(value), across} : Point{across, scale.At(value)};
  };
  const bool before = scale.Has(pair.before);
  const bool after = scale.Has(pair.after);
  if (before && after) {
    svg->Line(at(pair.before), at(pair.after), absl::StrCat("link ", ClassOf(pair.mark)));
  }
  if (before) svg->Circle(at(pair.before), radius * 0.9, "before");
  if (after) DrawMark(svg, pair.mark, at(pair.after), radius);
}

bool WithoutError(const Pair& pair, const Scale& scale) {
  return pair.mark == PairMark::kBad && !scale.Has(pair.after);
}

std::vector<double> ValuesOf(absl::Span<const Pair> pairs) {
  std::vector<double> values;
  values.reserve(2 * pairs.size());
  for (const Pair& pair : pairs) {
    values.push_back(pair.before);
    values.push_back(pair.after);
  }
  return values;
}

std::string LegendItem(const Svg& sign, absl::string_view words) {
  return absl::StrCat("<li>", sign.Sign(), "<span>", Escape(words), "</span></li>\n");
}

std::string Legend(absl::Span<const Pair> pairs, const PairWords& words) {
  std::string html = "<ul class=\"legend\">\n";
  const auto any = [&](const auto& test) { return std::any_of(pairs.begin(), pairs.end(), test); };
  if (any([](const Pair& pair) { return std::isfinite(pair.before); })) {
    Svg sign(14, 14, "");
    sign.Circle({7, 7}, 4, "before");
    absl::StrAppend(&html, LegendItem(sign, words.before));
  }
  for (const auto& [mark, meaning] :
       {std::pair(PairMark::kGood, &words.good), std::pair(PairMark::kPoor, &words.poor),
        std::pair(PairMark::kBad, &words.bad)}) {
    if (!any([mark = mark](const Pair& pair) { return pair.mark == mark; })) continue;
    Svg sign(14, 14, "");
    DrawMark(&sign, mark, {7, 7}, 4);
    absl::StrAppend(&html, LegendItem(sign, *meaning));
  }
  return absl::StrCat(html, "</ul>\n");
}

// Where the parts of a row lie: the name before the plot, or above it where that would leave too
// little of either.
struct RowSizes {
  double width = 0;
  double gutter = 0;  // left of the plot
  double height = 0;
  double name = 0;  // height of the name's own line; 0: it stands in the gutter
};

RowSizes SizesOf(absl::Span<const Pair> pairs, double width) {
  if (width == kNarrow) return {width, 10, 31, 14};
  double longest = 0;
  for (const Pair& pair : pairs) longest = std::max(longest, TextWidth(pair.name, 11));
  return {width, std::min(longest + 16, 330.0), pairs.size() > kMostOpen ? 14.0 : 18.0, 0};
}

void DrawRow(Svg* svg, const Pair& pair, const Scale& scale, const Box& plot, const RowSizes& sizes,
             double top) {
  const double y = top + (sizes.name + sizes.height) / 2;
  svg->BeginGroup(pair.title);
  svg->Rect({0, top}, sizes.width, sizes.height, "hit");
  if (sizes.name > 0) {
    svg->Text({0, top + sizes.name}, Shorten(pair.name, sizes.width, 11), "");
  } else {
    svg->Text({sizes.gutter - 12, y + 4}, Shorten(pair.name, sizes.gutter - 14, 11), "",
              Anchor::kEnd);
  }
  svg->Line({plot.left, y}, {plot.right, y}, "gridline");
  DrawPair(svg, pair, scale, true, y, 4);
  if (WithoutError(pair, scale)) {
    DrawMark(svg, pair.mark, {plot.left + 10, y}, 4);
    svg->Text({plot.left + 20, y + 4}, "no error", "bad halo");
  }
  svg->Text({sizes.width - 2, y + 4}, ChangeFigure(pair.before, pair.after), "soft", Anchor::kEnd);
  svg->EndGroup();
}

std::string DrawRows(absl::Span<const Pair> pairs, absl::Span<const double> values,
                     const PairWords& words, double width) {
  const RowSizes sizes = SizesOf(pairs, width);
  const Box plot = {sizes.gutter, 44, width - 58, 50 + sizes.height * pairs.size()};
  const Scale scale =
      Scale::Log(values, plot.left + 10, plot.right - 10, width == kNarrow ? 6 : 9, 36);
  Svg svg(width, plot.bottom + 8,
          absl::StrCat(words.axis, " of ", Counted(pairs.size(), "layer"), ", one row each."));
  DrawTopAxis(&svg, scale, plot, absl::StrCat(words.axis, ", logarithmic"));
  if (std::any_of(pairs.begin(), pairs.end(),
                  [](const Pair& pair) { return std::isfinite(pair.before); })) {
    svg.Text({width - 2, plot.top - 7}, "change", "soft", Anchor::kEnd);
  }
  double top = plot.top + 3;
  for (const Pair& pair : pairs) {
    DrawRow(&svg, pair, scale, plot, sizes, top);
    top += sizes.height;
  }
  return svg.Html();
}

std::string Rows(absl::Span<const Pair> pairs, absl::Span<const double> values,
                 const PairWords& words) {
  return TwoWidths(DrawRows(pairs, values, words, kWide), DrawRows(pairs, values, words, kNarrow));
}

// The layers with the largest errors, those without any first, in their order.
std::vector<Pair> Worst(absl::Span<const Pair> pairs) {
  const auto weight = [](const Pair& pair) {
    if (pair.mark == PairMark::kBad) return std::numeric_limits<double>::infinity();
    return std::isfinite(pair.after) ? pair.after : -1.0;
  };
  std::vector<size_t> order(pairs.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return weight(pairs[a]) > weight(pairs[b]); });
  order.resize(kMostDrawn);
  std::sort(order.begin(), order.end());
  std::vector<Pair> worst;
  worst.reserve(order.size());
  for (const size_t i : order) worst.push_back(pairs[i]);
  return worst;
}

std::string DrawPanel(absl::Span<const Pair> pairs, absl::Span<const double> values,
                      const LayerGrid& grid, size_t kind) {
  constexpr double kWidth = 320;
  constexpr double kHeight = 178;
  const Box plot = {62, 26, kWidth - 6, kHeight - 24};
  const Scale scale = Scale::Log(values, plot.bottom - 12, plot.top + 4, 5);
  const size_t blocks = grid.blocks.size();
  const double pitch = (plot.right - plot.left) / blocks;
  const double radius = std::clamp(pitch * 0.33, 1.3, 3.2);
  Svg svg(kWidth, kHeight, absl::StrCat("Errors of ", grid.kinds[kind], " by block."));
  DrawYAxis(&svg, scale, plot, "");
  svg.Text({0, 12}, Shorten(grid.kinds[kind], kWidth - 4, 12.5), "big strong");
  svg.Line({plot.left, plot.bottom}, {plot.right, plot.bottom}, "axis");
  // As many numbers as there is room for.
  const size_t step = std::max<size_t>(1, static_cast<size_t>(std::ceil(26 / pitch)));
  for (size_t b = 0; b < blocks; ++b) {
    const double x = plot.left + (b + 0.5) * pitch;
    if (b % step == 0) {
      svg.Text({x, plot.bottom + 15}, absl::StrCat(grid.blocks[b]), "soft", Anchor::kMiddle);
    }
    const int index = grid.cells[kind][b];
    if (index < 0) continue;
    svg.BeginGroup(pairs[index].title);
    svg.Rect({x - pitch / 2, plot.top}, pitch, plot.bottom - plot.top, "hit");
    DrawPair(&svg, pairs[index], scale, false, x, radius);
    // On the axis itself, where no error lies, not even one of 0.
    if (WithoutError(pairs[index], scale)) {
      DrawMark(&svg, pairs[index].mark, {x, plot.bottom}, radius);
    }
    svg.EndGroup();
  }
  return svg.Html();
}

std::string Panels(absl::Span<const Pair> pairs, absl::Span<const double> values,
                   const PairWords& words, const LayerGrid& grid) {
  std::string html = Caption(absl::StrCat(
      "One drawing for each kind of matrix, all with the same axes: across, the blocks of the "
      "model; up, the ",
      words.axis, ", logarithmic."));
  absl::StrAppend(&html, "<div class=\"panels\">\n");
  for (size_t kind = 0; kind < grid.kinds.size(); ++kind) {
    absl::StrAppend(&html, "<div>", DrawPanel(pairs, values, grid, kind), "</div>\n");
  }
  absl::StrAppend(&html, "</div>\n");
  if (grid.others.empty()) return html;
  std::vector<Pair> others;
  others.reserve(grid.others.size());
  for (const int other : grid.others) others.push_back(pairs[other]);
  return absl::StrCat(html, "<h3>Layers outside of the blocks</h3>\n", Rows(others, values, words));
}

}  // namespace

std::string PairChart(absl::Span<const Pair> pairs, const PairWords& words) {
  if (pairs.empty()) return "";
  const std::vector<double> values = ValuesOf(pairs);
  const std::string legend = Legend(pairs, words);
  if (pairs.size() > kMostOpen) {
    std::vector<std::string> names;
    names.reserve(pairs.size());
    for (const Pair& pair : pairs) names.push_back(pair.name);
    if (const std::optional<LayerGrid> grid = FindGrid(names)) {
      return absl::StrCat(legend, Panels(pairs, values, words, *grid));
    }
  }
  if (pairs.size() <= kMostDrawn) return absl::StrCat(legend, Rows(pairs, values, words));
  const std::vector<Pair> worst = Worst(pairs);
  return absl::StrCat(
      legend,
      Caption(absl::StrCat("The ", Count(kMostDrawn), " layers with the largest errors of all ",
                           Count(pairs.size()), ", in the model's order.")),
      Rows(worst, ValuesOf(worst), words));
}

}  // namespace quantd::pages
