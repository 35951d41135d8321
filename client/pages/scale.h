// From values to positions: linear and logarithmic axes with ticks at round numbers.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"

namespace quantd::pages {

struct Tick {
  double value = 0;
  double at = 0;      // position
  std::string label;  // plain text
};

class Scale {
 public:
  // All scales go over the finite ones of `values` (logarithmic: the positive ones), from position
  // `from` to `to`, with about `ticks` ticks; without any such value over something that can be
  // drawn.
  static Scale Linear(absl::Span<const double> values, double from, double to, int ticks);
  // A value of 0 has a place of its own at the low end, `zero_room` apart from the others.
  static Scale Log(absl::Span<const double> values, double from, double to, int ticks,
                   double zero_room = 22);
  // Bits: logarithmic where they span more than an octave, without a place for 0.
  static Scale OfBits(absl::Span<const double> values, double from, double to, int ticks);

  // Where `value` lies; values outside (and NaN) at the nearer end.
  double At(double value) const;
  // Whether At() tells where the value is.
  bool Has(double value) const;

  double from() const { return from_; }
  // Where the axis proper starts, behind the place of 0.
  double start() const { return start_; }
  bool has_zero() const { return has_zero_; }
  // In the order of their values; that of 0 first.
  const std::vector<Tick>& ticks() const { return ticks_; }

 private:
  double Coordinate(double value) const;
  void SetTicks(absl::Span<const double> values);

  bool log_ = false;
  bool has_zero_ = false;
  double low_ = 0;  // of Coordinate
  double high_ = 1;
  double from_ = 0;
  double start_ = 0;
  double to_ = 1;
  std::vector<Tick> ticks_;
};

}  // namespace quantd::pages
