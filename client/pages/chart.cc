#include "client/pages/chart.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "client/pages/format.h"

namespace quantd::pages {
namespace {

constexpr double kTextSize = 11;
constexpr double kTextHeight = 13;

// Two strokes over an axis: what lies behind them is not to scale.
void DrawBreak(Svg* svg, Point at, bool vertical_axis) {
  for (const double shift : {-2.0, 2.0}) {
    if (vertical_axis) {
      svg->Line({at.x - 4, at.y + shift + 2}, {at.x + 4, at.y + shift - 2}, "leader");
    } else {
      svg->Line({at.x + shift - 2, at.y + 4}, {at.x + shift + 2, at.y - 4}, "leader");
    }
  }
}

void DrawVerticals(Svg* svg, const Scale& scale, const Box& plot, double label_y) {
  for (const Tick& tick : scale.ticks()) {
    svg->Line({tick.at, plot.top}, {tick.at, plot.bottom}, "gridline");
    const double half = TextWidth(tick.label, kTextSize) / 2;
    const double x = std::clamp(tick.at, half, svg->width() - half);
    svg->Text({x, label_y}, tick.label, "soft", Anchor::kMiddle);
  }
}

Box BoxOfText(Point corner, double width) {
  return {corner.x, corner.y, corner.x + width, corner.y + kTextHeight};
}

bool Inside(const Box& box, const Box& bounds) {
  return box.left >= bounds.left && box.right <= bounds.right && box.top >= bounds.top &&
         box.bottom <= bounds.bottom;
}

bool Free(const Box& box, absl::Span<const Box> taken) {
  return std::none_of(taken.begin(), taken.end(), [&](const Box& b) { return Overlap(box, b); });
}

// The upper left corner of a text of `width`, `distance` away from the point in direction (dx, dy).
Point Corner(const LabelWish& wish, double width, Point direction, double distance) {
  const double reach = wish.radius + distance;
  const double x = wish.point.x + direction.x * reach;
  const double y = wish.point.y + direction.y * reach;
  const double left = direction.x > 0.3 ? x : direction.x < -0.3 ? x - width : x - width / 2;
  const double top = direction.y > 0.3    ? y
                     : direction.y < -0.3 ? y - kTextHeight
                                          : y - kTextHeight / 2;
  return {left, top};
}

// From a point to the nearest place of its label.
std::vector<Point> LeaderTo(const Box& box, Point point) {
  return {point,
          {std::clamp(point.x, box.left, box.right), std::clamp(point.y, box.top, box.bottom)}};
}

// `taken` by anything, `words` by labels alone: a leader may cross lines, but no words.
std::optional<LabelPlace> PlaceOne(const LabelWish& wish, absl::Span<const Box> taken,
                                   absl::Span<const Box> words, const Box& bounds) {
  constexpr double kNear = 10;
  constexpr double kStrong = 1.12;  // labels may be set in bold
  constexpr Point kDirections[] = {{1, 0},       {0.7, -0.7}, {0, -1},      {-1, 0},
                                   {-0.7, -0.7}, {0.7, 0.7},  {0, 1},       {-0.7, 0.7},
                                   {0.9, -0.4},  {0.9, 0.4},  {-0.9, -0.4}, {-0.9, 0.4},
                                   {0.4, -0.9},  {0.4, 0.9},  {-0.4, -0.9}, {-0.4, 0.9}};
  const double width = TextWidth(wish.text, kTextSize) * kStrong;
  for (const double distance : {3.0, 7.0, 12.0, 20.0, 30.0, 44.0, 60.0, 80.0, 110.0, 150.0}) {
    for (const Point& direction : kDirections) {
      const Box box = BoxOfText(Corner(wish, width, direction, distance), width);
      if (!Inside(box, bounds) || !Free(box, taken)) continue;
      const std::vector<Box> way = BoxesAlong(LeaderTo(box, wish.point));
      const bool clear =
          std::all_of(way.begin(), way.end(), [&](const Box& step) { return Free(step, words); });
      if (clear) return LabelPlace{{box.left, box.bottom - 3}, box, distance > kNear};
    }
  }
  return std::nullopt;
}

}  // namespace

bool Overlap(const Box& a, const Box& b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

void DrawXAxis(Svg* svg, const Scale& scale, const Box& plot, absl::string_view title) {
  DrawVerticals(svg, scale, plot, plot.bottom + 16);
  svg->Line({plot.left, plot.bottom}, {plot.right, plot.bottom}, "axis");
  svg->Text({plot.right, plot.bottom + 34}, Shorten(title, plot.right, kTextSize), "soft",
            Anchor::kEnd);
}

void DrawYAxis(Svg* svg, const Scale& scale, const Box& plot, absl::string_view title) {
  for (const Tick& tick : scale.ticks()) {
    svg->Line({plot.left, tick.at}, {plot.right, tick.at}, "gridline");
    svg->Text({plot.left - 8, tick.at + 4}, tick.label, "soft", Anchor::kEnd);
  }
  if (scale.has_zero()) {
    DrawBreak(svg, {plot.left, (scale.from() + scale.start()) / 2}, true);
  }
  if (!title.empty())
    svg->Text({0, plot.top - 14}, Shorten(title, svg->width(), kTextSize), "soft");
}

void DrawTopAxis(Svg* svg, const Scale& scale, const Box& plot, absl::string_view title) {
  DrawVerticals(svg, scale, plot, plot.top - 7);
  svg->Line({plot.left, plot.top}, {plot.right, plot.top}, "axis");
  if (scale.has_zero()) {
    DrawBreak(svg, {(scale.from() + scale.start()) / 2, plot.top}, false);
  }
  svg->Text({plot.left, plot.top - 24}, Shorten(title, svg->width() - plot.left, kTextSize),
            "soft");
}

std::vector<std::optional<LabelPlace>> PlaceLabels(absl::Span<const LabelWish> wishes,
                                                   std::vector<Box> taken, const Box& bounds) {
  for (const LabelWish& wish : wishes) {
    const double r = wish.radius + 1;
    taken.push_back({wish.point.x - r, wish.point.y - r, wish.point.x + r, wish.point.y + r});
  }
  std::vector<std::optional<LabelPlace>> places;
  std::vector<Box> words;
  for (const LabelWish& wish : wishes) {
    places.push_back(PlaceOne(wish, taken, words, bounds));
    if (!places.back()) continue;
    const Box& box = places.back()->box;
    taken.push_back(box);
    words.push_back(box);
    if (!places.back()->leader) continue;
    for (const Box& step : BoxesAlong(LeaderTo(box, wish.point))) taken.push_back(step);
  }
  return places;
}

void DrawLabels(Svg* svg, absl::Span<const LabelWish> wishes,
                absl::Span<const std::optional<LabelPlace>> places) {
  // All leaders first: they lie under the words.
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i] && places[i]->leader) {
      svg->Polyline(LeaderTo(places[i]->box, wishes[i].point), "leader");
    }
  }
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i]) svg->Text(places[i]->at, wishes[i].text, wishes[i].classes);
  }
}

std::vector<Box> BoxesAlong(absl::Span<const Point> line) {
  std::vector<Box> boxes;
  for (size_t i = 0; i + 1 < line.size(); ++i) {
    const double dx = line[i + 1].x - line[i].x;
    const double dy = line[i + 1].y - line[i].y;
    const int steps = std::max(1, static_cast<int>(std::hypot(dx, dy) / 4));
    for (int s = 0; s <= steps; ++s) {
      const double x = line[i].x + dx * s / steps;
      const double y = line[i].y + dy * s / steps;
      boxes.push_back({x - 2, y - 2, x + 2, y + 2});
    }
  }
  return boxes;
}

std::vector<double> SpreadOut(absl::Span<const double> wanted, double gap, double low,
                              double high) {
  const int n = static_cast<int>(wanted.size());
  if (n > 1) gap = std::min(gap, (high - low) / (n - 1));
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return wanted[a] < wanted[b]; });
  std::vector<double> placed(n);
  // Up from the low end, then back down from the high one.
  double next = low;
  for (const int i : order) {
    placed[i] = std::max(wanted[i], next);
    next = placed[i] + gap;
  }
  double limit = high;
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    placed[*it] = std::min(placed[*it], limit);
    limit = placed[*it] - gap;
  }
  return placed;
}

}  // namespace quantd::pages
