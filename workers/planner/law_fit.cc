#include "workers/planner/law_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "workers/core/status_macros.h"
#include "workers/planner/least_squares.h"

namespace quantd {
namespace {

constexpr double kOffsets[] = {0, 8, 16, 32, 64, 128};  // d
// Of the values' own spread: residuals that differ by less are equal, and the smaller d is taken.
constexpr double kSameResidual = 1e-12;

// An exponent of the law, what it multiplies and what it is called.
struct Term {
  const char* name;      // of the exponent
  const char* variable;  // of what must differ for it to be found
  double LawPoint::*value;
  double ScalingLaw::*exponent;
  double LawErrors::*error;
};

constexpr std::array<Term, 3> kTerms = {{
    {"A", "Q_r", &LawPoint::low_share, &ScalingLaw::a, &LawErrors::a},
    {"gamma_n", "N", &LawPoint::billions, &ScalingLaw::gamma_n, &LawErrors::gamma_n},
    {"gamma_b", "Q_b", &LawPoint::block, &ScalingLaw::gamma_b, &LawErrors::gamma_b},
}};
constexpr int kBlockTerm = 2;

// What the exponent of term `t` multiplies in ln(delta).
double Regressor(int t, const LawPoint& point, double d) {
  switch (t) {
    case 0:
      return point.low_share;
    case 1:
      return -std::log(point.billions);
    default:
      return std::log(point.block + d);
  }
}

// Of numbers that are to be finite and above 0.
constexpr double kMost = std::numeric_limits<double>::max();
constexpr double kLeast = std::numeric_limits<double>::min();

bool Within(double value, double least, double most) {
  return std::isfinite(value) && value >= least && value <= most;
}

absl::Status CheckPoint(const LawPoint& point, size_t number) {
  const auto wrong = [&](const char* name, double value, const char* rule) {
    return absl::InvalidArgumentError(
        absl::StrCat("point ", number, " has ", name, " = ", value, ": it must be ", rule));
  };
  if (!Within(point.billions, kLeast, kMost)) return wrong("N", point.billions, "above 0");
  if (!Within(point.low_share, 0, 1)) return wrong("Q_r", point.low_share, "within 0..1");
  if (!Within(point.block, 1, kMost)) return wrong("Q_b", point.block, "1 or more");
  if (!Within(point.delta, kLeast, kMost)) return wrong("delta", point.delta, "above 0");
  return absl::OkStatus();
}

LawRange RangeOf(absl::Span<const LawPoint> points, double LawPoint::*value) {
  LawRange range = {points[0].*value, points[0].*value};
  for (const LawPoint& point : points) {
    range.least = std::min(range.least, point.*value);
    range.most = std::max(range.most, point.*value);
  }
  return range;
}

// The terms whose exponents the points tell something about; the others go to `held`.
absl::StatusOr<std::vector<int>> FreeTerms(absl::Span<const LawPoint> points,
                                           const ScalingLaw* prior,
                                           std::vector<std::string>* held) {
  std::vector<int> free;
  std::vector<std::string> same;
  for (int t = 0; t < static_cast<int>(kTerms.size()); ++t) {
    const LawRange range = RangeOf(points, kTerms[t].value);
    if (range.least < range.most) {
      free.push_back(t);
      continue;
    }
    const std::string reason =
        absl::StrCat("all points have ", kTerms[t].variable, " = ", range.least);
    same.push_back(reason);
    if (prior != nullptr) {
      held->push_back(
          absl::StrCat(kTerms[t].name, " held at ", prior->*kTerms[t].exponent, ": ", reason));
    }
  }
  if (prior != nullptr || same.empty()) return free;
  return absl::InvalidArgumentError(
      absl::StrCat(absl::StrJoin(same, ", "), ": an exponent of each needs a law to hold it at"));
}

absl::Status Dependent(const std::vector<int>& free, int column, size_t points) {
  if (points <= free.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(points, " points cannot tell ", free.size() + 1, " constants apart"));
  }
  const char* name = kTerms[free[column - 1]].variable;
  std::vector<std::string> before;
  for (int t = 0; t + 1 < column; ++t) before.push_back(kTerms[free[t]].variable);
  if (before.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(name, " hardly differs between these points"));
  }
  return absl::InvalidArgumentError(absl::StrCat(name, " follows from ",
                                                 absl::StrJoin(before, " and "),
                                                 " in these points: their exponents cannot be told "
                                                 "apart"));
}

// The law with this d, what is not free as in `start`.
absl::StatusOr<LawFit> FitWith(absl::Span<const LawPoint> points, const std::vector<int>& free,
                               const ScalingLaw& start, double d, double* squares) {
  std::vector<std::vector<double>> columns(free.size() + 1);
  std::vector<double> values;
  for (const LawPoint& point : points) {
    double value = std::log(point.delta);
    columns[0].push_back(1);
    size_t column = 0;
    for (int t = 0; t < static_cast<int>(kTerms.size()); ++t) {
      const double regressor = Regressor(t, point, d);
      if (column < free.size() && free[column] == t) {
        columns[++column].push_back(regressor);
      } else {
        value -= start.*kTerms[t].exponent * regressor;
      }
    }
    values.push_back(value);
  }
  const LeastSquares solved = SolveLeastSquares(std::move(columns), values);
  if (solved.dependent >= 0) return Dependent(free, solved.dependent, points.size());
  LawFit fit;
  fit.law = start;
  fit.law.d = d;
  fit.law.c = std::exp(solved.coefficients[0]);
  fit.errors.ln_c = solved.errors[0];
  for (size_t i = 0; i < free.size(); ++i) {
    fit.law.*kTerms[free[i]].exponent = solved.coefficients[i + 1];
    fit.errors.*kTerms[free[i]].error = solved.errors[i + 1];
  }
  *squares = solved.squares;
  return fit;
}

// Sum of squares of ln(delta) around its mean.
double Spread(absl::Span<const LawPoint> points) {
  double mean = 0, spread = 0;
  for (const LawPoint& point : points) mean += std::log(point.delta);
  mean /= static_cast<double>(points.size());
  for (const LawPoint& point : points) {
    spread += (std::log(point.delta) - mean) * (std::log(point.delta) - mean);
  }
  return spread;
}

absl::Status CheckFitted(const ScalingLaw& law) {
  const auto wrong = [](const char* name, double value, const char* rule) {
    return absl::InvalidArgumentError(
        absl::StrCat("the points give ", name, " = ", value, ", where the law needs ", rule));
  };
  if (!(law.a > 0)) return wrong("A", law.a, "more than 0");
  if (!(law.gamma_n > 0)) return wrong("gamma_n", law.gamma_n, "more than 0");
  if (!(law.gamma_b >= 0)) return wrong("gamma_b", law.gamma_b, "0 or more");
  if (!(law.c > 0 && std::isfinite(law.c))) return wrong("C", law.c, "a finite one above 0");
  return absl::OkStatus();
}

// The values of d to try.
std::vector<double> Offsets(const std::vector<int>& free, const ScalingLaw& start,
                            std::optional<double> d) {
  if (d) return {*d};
  const bool found = !free.empty() && free.back() == kBlockTerm;
  if (!found) return {start.d};
  return {std::begin(kOffsets), std::end(kOffsets)};
}

}  // namespace

absl::StatusOr<LawFit> FitLaw(absl::Span<const LawPoint> points, const ScalingLaw* prior,
                              std::optional<double> d) {
  if (points.empty()) return absl::InvalidArgumentError("there are no points to fit a law to");
  for (size_t i = 0; i < points.size(); ++i) {
    QUANTD_RETURN_IF_ERROR(CheckPoint(points[i], i + 1));
  }
  if (d && !Within(*d, 0, kMost)) {
    return absl::InvalidArgumentError(absl::StrCat("d = ", *d, ": it must not be negative"));
  }
  std::vector<std::string> held;
  QUANTD_ASSIGN_OR_RETURN(const std::vector<int> free, FreeTerms(points, prior, &held));
  const ScalingLaw start = prior == nullptr ? ScalingLaw() : *prior;
  const double spread = Spread(points);
  double least = std::numeric_limits<double>::infinity();
  LawFit best;
  for (const double tried : Offsets(free, start, d)) {
    double squares = 0;
    QUANTD_ASSIGN_OR_RETURN(LawFit fit, FitWith(points, free, start, tried, &squares));
    if (squares < least - kSameResidual * spread) {
      least = squares;
      best = std::move(fit);
    }
  }
  QUANTD_RETURN_IF_ERROR(CheckFitted(best.law));
  best.law.residual = std::sqrt(least / static_cast<double>(points.size()));
  best.law.domain = {RangeOf(points, &LawPoint::billions), RangeOf(points, &LawPoint::low_share),
                     RangeOf(points, &LawPoint::block)};
  best.r2 = spread > 0 ? 1 - least / spread : 1;
  best.points = static_cast<int>(points.size());
  best.held = std::move(held);
  return best;
}

}  // namespace quantd
