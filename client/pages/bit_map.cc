#include "client/pages/bit_map.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "client/pages/chart.h"
#include "client/pages/document.h"
#include "client/pages/format.h"
#include "client/pages/layer_grid.h"

namespace quantd::pages {
namespace {

constexpr int kColours = 7;
// By the number of classes: few ones take neither the palest nor the darkest colour.
constexpr int kColourOf[kColours][kColours] = {{3},
                                               {2, 5},
                                               {1, 3, 5},
                                               {1, 2, 4, 6},
                                               {0, 2, 3, 4, 6},
                                               {0, 1, 2, 3, 4, 6},
                                               {0, 1, 2, 3, 4, 5, 6}};
// Bits of one format differ by as much from layer to layer: groups that do not divide the rows.
constexpr double kSameBits = 0.06;
constexpr size_t kMostCells = 1000;

bool Drawable(double bits) { return std::isfinite(bits) && bits > 0; }

std::vector<BitClass> DistinctClasses(absl::Span<const double> sorted, double factor) {
  std::vector<BitClass> classes;
  for (const double bits : sorted) {
    if (classes.empty() ||
        bits > std::max(classes.back().least + kSameBits, classes.back().least * factor)) {
      classes.push_back({bits, bits});
    }
    classes.back().most = bits;
  }
  return classes;
}

// The nearest one: means of several layers lie between the classes of these.
const BitClass* ClassOf(absl::Span<const BitClass> classes, double bits) {
  const BitClass* found = nullptr;
  double least = 0;
  for (const BitClass& candidate : classes) {
    if (!Drawable(bits)) break;
    const double distance = std::max({candidate.least - bits, bits - candidate.most, 0.0});
    if (found == nullptr || distance < least) {
      found = &candidate;
      least = distance;
    }
  }
  return found;
}

std::string ClassLabel(const BitClass& bits) {
  const std::string least = Bits(bits.least);
  const std::string most = Bits(bits.most);
  return absl::StrCat(least == most ? least : absl::StrCat(least, "–", most), " bits");
}

std::string Legend(absl::Span<const BitClass> classes) {
  uint64_t parameters = 0;
  for (const BitClass& bits : classes) parameters += bits.parameters;
  std::string html = "<ul class=\"legend\">\n";
  for (const BitClass& bits : classes) {
    Svg sign(14, 14, "");
    sign.Rect({0, 0}, 14, 14, absl::StrCat("b", bits.colour));
    const std::string share = parameters == 0
                                  ? ""
                                  : absl::StrCat(", ",
                                                 Share(static_cast<double>(bits.parameters),
                                                       static_cast<double>(parameters)),
                                                 " of the weights");
    absl::StrAppend(&html, "<li>", sign.Sign(), "<span><strong>", ClassLabel(bits), "</strong> ",
                    Counted(bits.layers, "layer"), share, "</span></li>\n");
  }
  return absl::StrCat(html, "</ul>\n");
}

// Draws the cells; knows their colours.
class Painter {
 public:
  Painter(absl::Span<const BitCell> cells, absl::Span<const BitClass> classes)
      : cells_(cells), classes_(classes) {
    for (const BitClass& bits : classes) most_ = std::max(most_, bits.most);
  }

  void Cell(Svg* svg, int index, const Box& box) const {
    const BitCell& cell = cells_[index];
    const BitClass* bits = ClassOf(classes_, cell.bits);
    svg->BeginGroup(cell.title);
    svg->Rect({box.left, box.top}, box.right - box.left, box.bottom - box.top, Fill(bits));
    const std::string text = bits == nullptr ? "–" : Bits(cell.bits);
    const char* size = TextWidth(text, 11) + 8 > box.right - box.left ? "small " : "";
    svg->Text({(box.left + box.right) / 2, (box.top + box.bottom) / 2 + 4}, text,
              absl::StrCat(size, bits == nullptr ? "soft" : absl::StrCat("t", bits->colour)),
              Anchor::kMiddle);
    svg->EndGroup();
  }

  // As high as its bits, so that the colour is not all that tells them.
  void Bar(Svg* svg, int index, const Box& box) const {
    const BitCell& cell = cells_[index];
    const BitClass* bits = ClassOf(classes_, cell.bits);
    const double share = bits == nullptr ? 1 : cell.bits / most_;
    svg->BeginGroup(cell.title);
    const double top = box.bottom - share * (box.bottom - box.top);
    svg->Rect({box.left, top}, box.right - box.left, box.bottom - top, Fill(bits));
    svg->EndGroup();
  }

 private:
  static std::string Fill(const BitClass* bits) {
    return bits == nullptr ? "none" : absl::StrCat("b", bits->colour);
  }

  absl::Span<const BitCell> cells_;
  absl::Span<const BitClass> classes_;
  double most_ = 0;
};

struct GridSizes {
  double width = 0;
  double gutter = 0;  // for the kinds' names
  double least_cell = 0;
  double most_cell = 0;
};
constexpr double kRow = 24;
constexpr double kBandHead = 22;
constexpr double kBandGap = 14;

double DrawBand(Svg* svg, const Painter& painter, const LayerGrid& grid, const GridSizes& sizes,
                double cell, size_t first, size_t count, double top) {
  for (size_t b = 0; b < count; ++b) {
    svg->Text({sizes.gutter + (b + 0.5) * cell, top + 14}, absl::StrCat(grid.blocks[first + b]),
              "soft", Anchor::kMiddle);
  }
  double y = top + kBandHead;
  for (size_t k = 0; k < grid.kinds.size(); ++k, y += kRow) {
    svg->Text({sizes.gutter - 8, y + 15}, Shorten(grid.kinds[k], sizes.gutter - 10, 11), "",
              Anchor::kEnd);
    for (size_t b = 0; b < count; ++b) {
      const int index = grid.cells[k][first + b];
      const double x = sizes.gutter + b * cell;
      if (index >= 0) painter.Cell(svg, index, {x, y, x + cell - 2, y + kRow - 2});
    }
  }
  return y;
}

std::string DrawGrid(absl::Span<const BitCell> cells, const Painter& painter, const LayerGrid& grid,
                     const GridSizes& sizes) {
  const size_t blocks = grid.blocks.size();
  const size_t fit = static_cast<size_t>((sizes.width - sizes.gutter) / sizes.least_cell);
  const size_t bands = (blocks + fit - 1) / fit;
  const size_t per_band = (blocks + bands - 1) / bands;
  const double cell = std::min(sizes.most_cell, (sizes.width - sizes.gutter) / per_band);
  const double band = kBandHead + kRow * grid.kinds.size() + kBandGap;
  const double height = bands * band + kRow * grid.others.size();
  Svg svg(sizes.width, height,
          absl::StrCat("Bits of each layer: ", Counted(grid.kinds.size(), "row"),
                       ", one for each kind of matrix, ", Counted(blocks, "column"),
                       ", one for each block."));
  double y = 0;
  for (size_t first = 0; first < blocks; first += per_band) {
    const size_t count = std::min(per_band, blocks - first);
    y = DrawBand(&svg, painter, grid, sizes, cell, first, count, y) + kBandGap;
  }
  for (const int other : grid.others) {
    svg.Text({sizes.gutter - 8, y + 15}, Shorten(cells[other].name, sizes.gutter - 10, 11), "",
             Anchor::kEnd);
    painter.Cell(&svg, other, {sizes.gutter, y, sizes.gutter + cell - 2, y + kRow - 2});
    y += kRow;
  }
  return svg.Html();
}

std::string DrawStrip(absl::Span<const BitCell> cells, const Painter& painter, double width,
                      size_t most_per_line) {
  constexpr double kGutter = 34;
  constexpr double kLine = 40;
  constexpr double kGap = 8;
  const size_t lines = (cells.size() + most_per_line - 1) / most_per_line;
  const size_t per_line = (cells.size() + lines - 1) / lines;
  const double cell = std::min(44.0, (width - kGutter) / per_line);
  const double seam = cell > 5 ? 1 : 0.4;
  Svg svg(width, lines * (kLine + kGap),
          absl::StrCat("Bits of each layer in the model's order, ", Counted(cells.size(), "cell"),
                       "."));
  for (size_t i = 0; i < cells.size(); ++i) {
    const size_t line = i / per_line;
    const double top = line * (kLine + kGap);
    const double x = kGutter + (i % per_line) * cell;
    if (i % per_line == 0) {
      svg.Text({kGutter - 6, top + kLine - 2}, Count(i + 1), "soft", Anchor::kEnd);
      const size_t count = std::min(per_line, cells.size() - i);
      svg.Line({kGutter, top + kLine}, {kGutter + count * cell, top + kLine}, "axis");
    }
    painter.Bar(&svg, static_cast<int>(i), {x, top, x + cell - seam, top + kLine});
  }
  return svg.Html();
}

// Neighbours taken together until no more than kMostCells are left, at their mean bits.
std::vector<BitCell> Merged(absl::Span<const BitCell> cells, size_t* each) {
  *each = (cells.size() + kMostCells - 1) / kMostCells;
  if (*each <= 1) return {cells.begin(), cells.end()};
  std::vector<BitCell> merged;
  for (size_t first = 0; first < cells.size(); first += *each) {
    const auto run = cells.subspan(first, *each);
    BitCell cell;
    double bits = 0;
    double weights = 0;
    for (const BitCell& one : run) {
      if (!Drawable(one.bits)) continue;
      const double weight = std::max<double>(1, static_cast<double>(one.parameters));
      bits += weight * one.bits;
      weights += weight;
      cell.parameters += one.parameters;
    }
    cell.bits = weights > 0 ? bits / weights : 0;
    cell.title = absl::StrCat("layers ", Count(first + 1), " to ", Count(first + run.size()), ": ",
                              Bits(cell.bits), " bits on average");
    merged.push_back(std::move(cell));
  }
  return merged;
}

std::string GridMap(absl::Span<const BitCell> cells, absl::Span<const BitClass> classes,
                    const LayerGrid& grid) {
  const Painter painter(cells, classes);
  double longest = 0;
  for (const std::string& kind : grid.kinds) longest = std::max(longest, TextWidth(kind, 11));
  for (const int other : grid.others) {
    longest = std::max(longest, TextWidth(cells[other].name, 11));
  }
  const GridSizes wide = {kWide, std::clamp(longest + 12, 60.0, 230.0), 25, 56};
  const GridSizes narrow = {kNarrow, std::clamp(longest + 12, 60.0, 150.0), 27, 40};
  return absl::StrCat(
      Caption("One row for each kind of matrix, one column for each block of the model; a cell "
              "holds the bits of a weight, scales and all else that is stored included."),
      Legend(classes),
      TwoWidths(DrawGrid(cells, painter, grid, wide), DrawGrid(cells, painter, grid, narrow)));
}

std::string StripMap(absl::Span<const BitCell> cells, absl::Span<const BitClass> classes) {
  size_t each = 1;
  const std::vector<BitCell> merged = Merged(cells, &each);
  const Painter painter(merged, classes);
  const std::string what = each > 1 ? absl::StrCat("One bar for every ", Count(each),
                                                   " neighbouring layers, at their mean")
                                    : std::string("One bar for each layer");
  return absl::StrCat(
      Caption(absl::StrCat(what,
                           ", in the model's order; the higher and stronger, the more bits "
                           "a weight has, all that is stored included. The number before a "
                           "line is that of its first bar.")),
      Legend(classes),
      TwoWidths(DrawStrip(merged, painter, kWide, 125), DrawStrip(merged, painter, kNarrow, 60)));
}

}  // namespace

std::vector<BitClass> ClassesOf(absl::Span<const BitCell> cells) {
  std::vector<double> sorted;
  for (const BitCell& cell : cells) {
    if (Drawable(cell.bits)) sorted.push_back(cell.bits);
  }
  std::sort(sorted.begin(), sorted.end());
  std::vector<BitClass> classes = DistinctClasses(sorted, 1);
  // Coarser until there are colours for all.
  for (double factor = 1.05; classes.size() > kColours; factor *= 1.05) {
    classes = DistinctClasses(sorted, factor);
  }
  for (size_t i = 0; i < classes.size(); ++i) {
    classes[i].colour = kColourOf[classes.size() - 1][i];
  }
  for (const BitCell& cell : cells) {
    for (BitClass& bits : classes) {
      if (!(cell.bits >= bits.least && cell.bits <= bits.most)) continue;
      ++bits.layers;
      bits.parameters += cell.parameters;
      break;
    }
  }
  return classes;
}

std::string BitMap(absl::Span<const BitCell> cells) {
  if (cells.empty()) return "";
  const std::vector<BitClass> classes = ClassesOf(cells);
  std::vector<std::string> names;
  names.reserve(cells.size());
  for (const BitCell& cell : cells) names.push_back(cell.name);
  const std::optional<LayerGrid> grid = FindGrid(names);
  return grid ? GridMap(cells, classes, *grid) : StripMap(cells, classes);
}

}  // namespace quantd::pages
