#include "client/pages/scale.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "client/pages/format.h"

namespace quantd::pages {
namespace {

// What is drawn of a logarithmic axis; beyond, values lie at its ends.
constexpr double kSmallest = 1e-30;
constexpr double kLargest = 1e30;

struct Range {
  double low = 0;
  double high = 0;
};

std::optional<Range> RangeOf(absl::Span<const double> values, double at_least) {
  std::optional<Range> range;
  for (const double value : values) {
    if (!std::isfinite(value) || value < at_least) continue;
    if (!range) range = Range{value, value};
    range->low = std::min(range->low, value);
    range->high = std::max(range->high, value);
  }
  return range;
}

// m 10^k for all m of `mantissas` (ascending) and every `stride`-th k, within [low, high].
std::vector<double> PowersWithin(double low, double high, absl::Span<const double> mantissas,
                                 int stride) {
  std::vector<double> found;
  const int last = static_cast<int>(std::ceil(std::log10(high)));
  for (int k = static_cast<int>(std::floor(std::log10(low))); k <= last; ++k) {
    if (k % stride != 0) continue;
    for (const double m : mantissas) {
      const double value = m * std::pow(10, k);
      // A rounding error must not drop the tick at the very end.
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) found.push_back(value);
    }
  }
  return found;
}

// Outwards to the next of 1, 2, 5 times a power of ten.
Range WidenToRound(Range range) {
  const double low = range.low / 1.01;
  const double high = range.high * 1.01;
  constexpr double kRound[] = {1, 2, 5};
  for (const double value : PowersWithin(low / 10, low, kRound, 1)) range.low = value;
  range.high = PowersWithin(high, high * 10, kRound, 1).front();
  return range;
}

std::vector<double> LogTicks(Range range, int most) {
  constexpr double kFine[] = {1, 2, 3, 5, 7};
  constexpr double kMiddle[] = {1, 2, 5};
  constexpr double kCoarse[] = {1, 3};
  constexpr double kDecades[] = {1};
  for (const auto& mantissas : {absl::Span<const double>(kFine), absl::Span<const double>(kMiddle),
                                absl::Span<const double>(kCoarse)}) {
    std::vector<double> ticks = PowersWithin(range.low, range.high, mantissas, 1);
    if (static_cast<int>(ticks.size()) <= most) return ticks;
  }
  for (int stride = 1;; ++stride) {
    std::vector<double> ticks = PowersWithin(range.low, range.high, kDecades, stride);
    if (static_cast<int>(ticks.size()) <= std::max(most, 2)) return ticks;
  }
}

double RoundStep(double width, int ticks) {
  const double raw = width / std::max(ticks, 1);
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double m : {1.0, 2.0, 2.5, 5.0}) {
    if (m * power >= raw * (1 - 1e-9)) return m * power;
  }
  return 10 * power;
}

std::vector<double> LinearTicks(Range range, double step) {
  std::vector<double> ticks;
  for (double k = std::ceil(range.low / step - 1e-6); k * step <= range.high + 1e-6 * step; ++k) {
    ticks.push_back(k * step);
  }
  return ticks;
}

}  // namespace

Scale Scale::Linear(absl::Span<const double> values, double from, double to, int ticks) {
  Range range = RangeOf(values, -kLargest).value_or(Range{0, 1});
  range.high = std::min(range.high, kLargest);
  if (range.high - range.low <= 1e-6 * std::abs(range.high)) {
    const double margin = range.high == 0 ? 1 : 0.1 * std::abs(range.high);
    range = {range.low - margin, range.high + margin};
  }
  const double step = RoundStep(range.high - range.low, ticks);
  Scale scale;
  scale.low_ = step * std::floor(range.low / step + 1e-6);
  scale.high_ = step * std::ceil(range.high / step - 1e-6);
  scale.from_ = scale.start_ = from;
  scale.to_ = to;
  scale.SetTicks(LinearTicks({scale.low_, scale.high_}, step));
  return scale;
}

Scale Scale::Log(absl::Span<const double> values, double from, double to, int ticks,
                 double zero_room) {
  const auto positive = RangeOf(values, std::numeric_limits<double>::denorm_min());
  Range range = positive.value_or(Range{0.1, 1});
  range = {std::clamp(range.low, kSmallest, kLargest), std::clamp(range.high, kSmallest, kLargest)};
  range = WidenToRound(range);
  Scale scale;
  scale.log_ = true;
  scale.has_zero_ = std::any_of(values.begin(), values.end(), [](double v) { return v == 0; });
  scale.low_ = std::log10(range.low);
  scale.high_ = std::log10(range.high);
  scale.from_ = from;
  scale.start_ = scale.has_zero_ ? from + (to > from ? zero_room : -zero_room) : from;
  scale.to_ = to;
  if (scale.has_zero_) scale.ticks_.push_back({0, from, "0"});
  // Of zeros alone there is nothing more to mark.
  if (positive || !scale.has_zero_) scale.SetTicks(LogTicks(range, ticks));
  return scale;
}

Scale Scale::OfBits(absl::Span<const double> values, double from, double to, int ticks) {
  const auto range = RangeOf(values, 0.01);
  if (!range || range->high < 2 * range->low) return Linear(values, from, to, ticks);
  Scale scale;
  scale.log_ = true;
  const double margin = 0.04 * std::log10(range->high / range->low);
  scale.low_ = std::log10(range->low) - margin;
  scale.high_ = std::log10(range->high) + margin;
  scale.from_ = scale.start_ = from;
  scale.to_ = to;
  // By how much a reader looks for them: those that come first push others out.
  constexpr double kMarks[] = {4, 8, 2, 16, 3, 1, 32, 6, 12, 5, 24, 2.5, 1.5, 0.5, 64, 0.1};
  const double apart = std::abs(to - from) / (2.2 * ticks);
  std::vector<double> shown;
  for (const double mark : kMarks) {
    const double at = std::log10(mark);
    const bool free = std::all_of(shown.begin(), shown.end(), [&](double other) {
      return std::abs(scale.At(mark) - scale.At(other)) >= apart;
    });
    if (at >= scale.low_ && at <= scale.high_ && free) shown.push_back(mark);
  }
  std::sort(shown.begin(), shown.end());
  scale.SetTicks(shown);
  return scale;
}

double Scale::Coordinate(double value) const { return log_ ? std::log10(value) : value; }

double Scale::At(double value) const {
  if (log_ && value <= 0) return has_zero_ ? from_ : start_;
  if (std::isnan(value)) return start_;
  const double share = (Coordinate(value) - low_) / (high_ - low_);
  return start_ + std::clamp(share, 0.0, 1.0) * (to_ - start_);
}

bool Scale::Has(double value) const {
  if (!std::isfinite(value)) return false;
  return !log_ || value > 0 || (value == 0 && has_zero_);
}

void Scale::SetTicks(absl::Span<const double> values) {
  for (const double value : values) ticks_.push_back({value, At(value), TickNumber(value)});
}

}  // namespace quantd::pages
