#include "client/pages/svg.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/pages/format.h"

namespace quantd::pages {
namespace {

// A tenth of a pixel is as fine as anybody sees.
std::string Px(double value) {
  if (!std::isfinite(value)) return "0";
  const double tenths = std::round(value * 10);
  if (std::abs(tenths) < 0.5) return "0";
  std::string text = absl::StrFormat("%.1f", tenths / 10);
  if (text.back() == '0') text.resize(text.size() - 2);
  return text;
}

std::string Class(absl::string_view classes) {
  return classes.empty() ? "" : absl::StrCat(" class=\"", classes, "\"");
}

std::string Spot(Point point) { return absl::StrCat(Px(point.x), " ", Px(point.y)); }

}  // namespace

Svg::Svg(double width, double height, absl::string_view label)
    : width_(width), height_(height), label_(label) {}

void Svg::Line(Point from, Point to, absl::string_view classes) {
  absl::StrAppend(&body_, "<line x1=\"", Px(from.x), "\" y1=\"", Px(from.y), "\" x2=\"", Px(to.x),
                  "\" y2=\"", Px(to.y), "\"", Class(classes), "/>\n");
}

void Svg::Polyline(absl::Span<const Point> points, absl::string_view classes) {
  if (points.empty()) return;
  absl::StrAppend(&body_, "<polyline points=\"");
  const char* gap = "";
  for (const Point& point : points) {
    absl::StrAppend(&body_, gap, Px(point.x), ",", Px(point.y));
    gap = " ";
  }
  absl::StrAppend(&body_, "\"", Class(classes), "/>\n");
}

void Svg::Rect(Point corner, double width, double height, absl::string_view classes) {
  absl::StrAppend(&body_, "<rect x=\"", Px(corner.x), "\" y=\"", Px(corner.y), "\" width=\"",
                  Px(width), "\" height=\"", Px(height), "\"", Class(classes), "/>\n");
}

void Svg::Circle(Point center, double radius, absl::string_view classes) {
  absl::StrAppend(&body_, "<circle cx=\"", Px(center.x), "\" cy=\"", Px(center.y), "\" r=\"",
                  Px(radius), "\"", Class(classes), "/>\n");
}

void Svg::Diamond(Point center, double radius, absl::string_view classes) {
  absl::StrAppend(&body_, "<path d=\"M", Spot({center.x, center.y - radius}), "L",
                  Spot({center.x + radius, center.y}), "L", Spot({center.x, center.y + radius}),
                  "L", Spot({center.x - radius, center.y}), "Z\"", Class(classes), "/>\n");
}

void Svg::Cross(Point center, double radius, absl::string_view classes) {
  absl::StrAppend(&body_, "<path d=\"M", Spot({center.x - radius, center.y - radius}), "L",
                  Spot({center.x + radius, center.y + radius}), "M",
                  Spot({center.x - radius, center.y + radius}), "L",
                  Spot({center.x + radius, center.y - radius}), "\"", Class(classes), "/>\n");
}

void Svg::Text(Point at, absl::string_view text, absl::string_view classes, Anchor anchor) {
  const char* side = anchor == Anchor::kStart ? "" : anchor == Anchor::kMiddle ? " m" : " e";
  const std::string all = absl::StrCat(classes, side);
  absl::StrAppend(&body_, "<text x=\"", Px(at.x), "\" y=\"", Px(at.y), "\"", Class(all), ">",
                  Escape(text), "</text>\n");
}

void Svg::BeginGroup(absl::string_view title) {
  absl::StrAppend(&body_, "<g><title>", Escape(title), "</title>\n");
}

void Svg::EndGroup() { absl::StrAppend(&body_, "</g>\n"); }

std::string Svg::Open(absl::string_view attributes) const {
  return absl::StrCat("<svg viewBox=\"0 0 ", Px(width_), " ", Px(height_), "\" width=\"",
                      Px(width_), "\" height=\"", Px(height_), "\" ", attributes, ">\n");
}

std::string Svg::Html() const {
  const std::string attributes = absl::StrCat("role=\"img\" aria-label=\"", Escape(label_), "\"");
  return absl::StrCat(Open(attributes), body_, "</svg>\n");
}

std::string Svg::Sign() const {
  return absl::StrCat(Open("class=\"sign\" aria-hidden=\"true\""), body_, "</svg>");
}

}  // namespace quantd::pages
