// A drawing: shapes and words in SVG, coloured by classes of the style sheet.
#pragma once

#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quantd::pages {

struct Point {
  double x = 0;
  double y = 0;
};

// Where the x of a text lies in it.
enum class Anchor { kStart, kMiddle, kEnd };

// All text is plain: the drawing escapes it. A coordinate that is not finite becomes 0.
class Svg {
 public:
  // `label` tells what is seen to those who cannot see it.
  Svg(double width, double height, absl::string_view label);

  double width() const { return width_; }

  void Line(Point from, Point to, absl::string_view classes);
  void Polyline(absl::Span<const Point> points, absl::string_view classes);
  void Rect(Point corner, double width, double height, absl::string_view classes);
  void Circle(Point center, double radius, absl::string_view classes);
  void Diamond(Point center, double radius, absl::string_view classes);
  void Cross(Point center, double radius, absl::string_view classes);
  // y is that of the base line.
  void Text(Point at, absl::string_view text, absl::string_view classes,
            Anchor anchor = Anchor::kStart);
  // What lies between these two shows `title` under the pointer.
  void BeginGroup(absl::string_view title);
  void EndGroup();

  std::string Html() const;
  // The same as a small sign beside words that say what it is.
  std::string Sign() const;

 private:
  std::string Open(absl::string_view attributes) const;

  double width_;
  double height_;
  std::string label_;
  std::string body_;
};

}  // namespace quantd::pages
