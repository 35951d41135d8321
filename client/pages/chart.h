// What charts share: axes, and words that keep out of each other's way.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/pages/scale.h"
#include "client/pages/svg.h"

namespace quantd::pages {

// Sizes of the two drawings of TwoWidths(): what their text needs to be read.
inline constexpr double kWide = 1000;
inline constexpr double kNarrow = 360;
inline constexpr double kHalf = 580;  // wide, with a table beside it

struct Box {
  double left = 0;
  double top = 0;
  double right = 0;
  double bottom = 0;
};
bool Overlap(const Box& a, const Box& b);

// Ticks with their lines across the plot and their labels beside it, a title above or below.
void DrawXAxis(Svg* svg, const Scale& scale, const Box& plot, absl::string_view title);
void DrawYAxis(Svg* svg, const Scale& scale, const Box& plot, absl::string_view title);
// Labels above the plot and nothing below: for drawings higher than a screen.
void DrawTopAxis(Svg* svg, const Scale& scale, const Box& plot, absl::string_view title);

// A point that wants words beside it.
struct LabelWish {
  Point point;
  double radius = 4;  // of the mark at the point
  std::string text;
  std::string classes;
};

struct LabelPlace {
  Point at;  // of the text, anchored at its start; y is the base line
  Box box;
  bool leader = false;  // too far from its point to belong to it by nearness alone
};

// For each wish, in their order, a place inside `bounds` that covers neither another label nor a
// taken box; empty where there is none.
std::vector<std::optional<LabelPlace>> PlaceLabels(absl::Span<const LabelWish> wishes,
                                                   std::vector<Box> taken, const Box& bounds);
// Those that have a place.
void DrawLabels(Svg* svg, absl::Span<const LabelWish> wishes,
                absl::Span<const std::optional<LabelPlace>> places);
// Boxes along a line, for `taken`.
std::vector<Box> BoxesAlong(absl::Span<const Point> line);

// `wanted` moved apart until neighbours are `gap` away from each other and all lie in [low, high];
// evenly spread where they have no room. In the order of `wanted`.
std::vector<double> SpreadOut(absl::Span<const double> wanted, double gap, double low, double high);

}  // namespace quantd::pages
