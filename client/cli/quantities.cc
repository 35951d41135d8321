#include "client/cli/quantities.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "workers/core/status_macros.h"
#include "workers/planner/scaling_law.h"

namespace quantd::cli {
namespace {

struct Unit {
  absl::string_view name;
  double factor;
};

constexpr Unit kBytes[] = {
    {"kib", 1024.0}, {"mib", 1048576.0}, {"gib", 1073741824.0}, {"tib", 1099511627776.0},
    {"kb", 1e3},     {"mb", 1e6},        {"gb", 1e9},           {"tb", 1e12},
    {"b", 1}};
constexpr Unit kCounts[] = {{"k", 1e3}, {"m", 1e6}, {"b", 1e9}, {"t", 1e12}};

absl::Status Wanted(absl::string_view text, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not ", what));
}

// NaN for what is no number with one of these units, or none.
double WithUnit(absl::string_view text, absl::Span<const Unit> units) {
  double factor = 1;
  for (const Unit& unit : units) {
    if (!absl::EndsWithIgnoreCase(text, unit.name)) continue;
    text.remove_suffix(unit.name.size());
    factor = unit.factor;
    break;
  }
  double value = 0;
  return absl::SimpleAtod(text, &value) ? value * factor : std::nan("");
}

}  // namespace

absl::StatusOr<double> ParseNumber(absl::string_view text) {
  double value = 0;
  if (absl::SimpleAtod(text, &value) && std::isfinite(value)) return value;
  return Wanted(text, "a number");
}

absl::StatusOr<double> ParseShare(absl::string_view text) {
  absl::string_view digits = text;
  const bool percent = absl::ConsumeSuffix(&digits, "%");
  double value = 0;
  if (absl::SimpleAtod(digits, &value)) {
    if (percent) value /= 100;
    if (value >= 0 && value <= 1) return value;
  }
  return Wanted(text, "a share: 0 to 1, or percent");
}

absl::StatusOr<double> ParseBits(absl::string_view text) {
  absl::string_view digits = text;
  absl::ConsumeSuffix(&digits, "bpw");
  double value = 0;
  constexpr double kMost = 64;
  if (absl::SimpleAtod(digits, &value) && value > 0 && value <= kMost) return value;
  return Wanted(text, "a number of bits up to 64: 4 or 4.25bpw");
}

absl::StatusOr<uint64_t> ParseBytes(absl::string_view text) {
  const double value = WithUnit(text, kBytes);
  if (value >= 1 && value < 9e18) return static_cast<uint64_t>(value);
  return Wanted(text, "a number of bytes: 3.5GB, 900MB or 2GiB");
}

absl::StatusOr<double> ParseBillions(absl::string_view text) {
  const double value = WithUnit(text, kCounts);
  if (value >= 1e5 && std::isfinite(value)) return value / 1e9;
  return Wanted(text, "a number of parameters: 7B, 500M or 7000000000");
}

absl::StatusOr<double> ParseDelta(absl::string_view text) {
  absl::string_view digits = text;
  const bool percent = absl::ConsumeSuffix(&digits, "%");
  double value = 0;
  if (absl::SimpleAtod(digits, &value) && value > 0 && std::isfinite(value)) {
    return percent ? DeltaOfRise(value / 100) : value;
  }
  return Wanted(text, "a rise of the loss: 5% of perplexity, or nats above 0");
}

}  // namespace quantd::cli
