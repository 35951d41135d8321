#include "workers/planner/scaling_law.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

// Above it the curves that the laws were fitted to turn up sharply.
constexpr double kMostRise = 1.0;
// Of ln(delta): beyond it a range of delta leaves what a double holds.
constexpr double kMostResidual = 100;

template <typename... Words>
absl::Status Wrong(const Words&... words) {
  return absl::InvalidArgumentError(absl::StrCat(words...));
}

bool IsAbove(double value, double least) { return std::isfinite(value) && value > least; }
bool IsAtLeast(double value, double least) { return std::isfinite(value) && value >= least; }

// For numbers that are typed in.
bool IsSame(double a, double b) { return std::abs(a - b) <= 1e-6 * std::abs(b); }

absl::Status CheckQuestion(const LawQuestion& question) {
  if (question.billions && !IsAbove(*question.billions, 0)) {
    return Wrong("N is ", *question.billions, " billion parameters: it must be above 0");
  }
  if (question.low_share && !(*question.low_share >= 0 && *question.low_share <= 1)) {
    return Wrong("Q_r is ", *question.low_share, ": it must be within 0..1");
  }
  if (question.block && !IsAtLeast(*question.block, 1)) {
    return Wrong("Q_b is ", *question.block, ": it must be 1 or more");
  }
  if (question.delta && !IsAbove(*question.delta, 0)) {
    return Wrong("delta is ", *question.delta, " nats: it must be above 0");
  }
  return absl::OkStatus();
}

absl::Status CheckConstants(const ScalingLaw& law) {
  if (!IsAbove(law.c, 0)) return Wrong("the law's C is ", law.c, ": it must be above 0");
  if (!IsAbove(law.a, 0)) return Wrong("the law's A is ", law.a, ": it must be above 0");
  if (!IsAbove(law.gamma_n, 0)) {
    return Wrong("the law's gamma_n is ", law.gamma_n, ": it must be above 0");
  }
  if (!IsAtLeast(law.gamma_b, 0)) {
    return Wrong("the law's gamma_b is ", law.gamma_b, ": it must not be negative");
  }
  if (!IsAtLeast(law.d, 0)) return Wrong("the law's d is ", law.d, ": it must not be negative");
  if (!IsAtLeast(law.residual, 0) || law.residual > kMostResidual) {
    return Wrong("the law's residual is ", law.residual, ": it must be in 0..", kMostResidual);
  }
  return absl::OkStatus();
}

absl::Status CheckConstants(const BudgetLine& line) {
  if (!IsAbove(line.rise, 0))
    return Wrong("the line's rise is ", line.rise, ": it must be above 0");
  if (!IsAbove(-line.slope, 0)) {
    return Wrong("the line's slope is ", line.slope, ": it must be below 0");
  }
  if (std::isfinite(line.intercept)) return absl::OkStatus();
  return Wrong("the line's intercept is ", line.intercept, ": it must be finite");
}

absl::Status CheckConstants(const BlockPower& power) {
  if (!IsAbove(power.factor, 0)) {
    return Wrong("the power law's factor is ", power.factor, ": it must be above 0");
  }
  if (IsAbove(power.exponent, 0)) return absl::OkStatus();
  return Wrong("the power law's exponent is ", power.exponent, ": it must be above 0");
}

void WarnOutside(const char* name, double value, const LawRange& range, LawAnswer* answer) {
  if (range.most <= 0 || (value >= range.least && value <= range.most)) return;
  answer->warnings.push_back(absl::StrCat(name, " = ", value, " lies outside of ", range.least,
                                          "..", range.most, ", where the law was measured"));
}

void WarnSteep(LawAnswer* answer) {
  const double rise = RiseOfDelta(answer->delta);
  if (rise <= kMostRise) return;
  answer->warnings.push_back(absl::StrCat("a perplexity that rises by ", 100 * rise,
                                          " % lies above the 100 % that laws were fitted to"));
}

absl::Status OnlyOneGap(const LawQuestion& question, bool needs_block) {
  std::string missing;
  int gaps = 0;
  const auto count = [&](bool given, const char* name) {
    if (given) return;
    absl::StrAppend(&missing, gaps++ > 0 ? ", " : "", name);
  };
  count(question.billions.has_value(), "N");
  count(question.low_share.has_value(), "Q_r");
  count(question.block.has_value() || !needs_block, "Q_b");
  count(question.delta.has_value(), "delta");
  if (gaps == 1) return absl::OkStatus();
  if (gaps > 1) {
    return Wrong("one of N, Q_r, Q_b and delta can be asked for, but ", missing, " are missing");
  }
  if (!needs_block && !question.block) {
    return Wrong("Q_b is asked for, but this law does not know Q_b");
  }
  return Wrong("nothing is asked for: leave one of N, Q_r, Q_b and delta out");
}

LawAnswer AnswerOf(const LawQuestion& question) {
  LawAnswer answer;
  answer.billions = question.billions.value_or(0);
  answer.low_share = question.low_share.value_or(0);
  answer.block = question.block.value_or(0);
  answer.delta = question.delta.value_or(0);
  return answer;
}

// The value asked for, of a question with everything else, when delta is `delta`.
double Invert(const ScalingLaw& law, const LawQuestion& question, double block, double delta) {
  if (!question.low_share) return LawLowShare(law, *question.billions, block, delta);
  if (!question.billions) return LawBillions(law, *question.low_share, block, delta);
  return LawBlock(law, *question.billions, *question.low_share, delta);
}

absl::Status NoneFinite(const char* asked) {
  return absl::OutOfRangeError(absl::StrCat("no finite ", asked, " answers the question"));
}

// Where an exponential runs over.
absl::Status CheckFinite(const LawAnswer& answer) {
  for (const double value :
       {answer.billions, answer.block, answer.delta, answer.likely.least, answer.likely.most}) {
    if (std::isfinite(value)) continue;
    return absl::OutOfRangeError(absl::StrCat(
        "the answer leaves what a double holds: N = ", answer.billions, ", Q_b = ", answer.block,
        ", delta = ", answer.delta, ", the one asked for likely ", answer.likely.least, " to ",
        answer.likely.most));
  }
  return absl::OkStatus();
}

absl::Status CheckBlock(const ScalingLaw& law, const LawAnswer& answer) {
  if (answer.block >= 1) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrCat("no Q_b of 1 or more keeps delta within ", answer.delta,
                   " at N = ", answer.billions, " and Q_r = ", answer.low_share,
                   ": with Q_b = 1 it is ", LawDelta(law, answer.billions, answer.low_share, 1)));
}

absl::Status Fill(const ScalingLaw& law, const LawQuestion& question, LawAnswer* answer) {
  if (!question.delta) {
    const double delta = LawDelta(law, answer->billions, answer->low_share, answer->block);
    if (!std::isfinite(delta)) return NoneFinite("delta");
    answer->delta = delta;
    answer->likely = {delta * std::exp(-law.residual), delta * std::exp(law.residual)};
    return absl::OkStatus();
  }
  if (question.low_share && *question.low_share == 0) {
    return Wrong("at Q_r = 0 nothing is in low precision: any ", question.billions ? "Q_b" : "N",
                 " will do");
  }
  const double delta = *question.delta, off = std::exp(law.residual);
  double& asked = !question.low_share  ? answer->low_share
                  : !question.billions ? answer->billions
                                       : answer->block;
  asked = Invert(law, question, answer->block, delta);
  if (!std::isfinite(asked)) {
    return NoneFinite(!question.low_share ? "Q_r" : !question.billions ? "N" : "Q_b");
  }
  const double low = Invert(law, question, answer->block, delta / off);
  const double high = Invert(law, question, answer->block, delta * off);
  answer->likely = {std::min(low, high), std::max(low, high)};
  if (&asked != &answer->block) return absl::OkStatus();
  answer->likely.least = std::max(1.0, answer->likely.least);
  return CheckBlock(law, *answer);
}

absl::StatusOr<LawAnswer> Ask(const ScalingLaw& law, const LawQuestion& question) {
  const bool weak = law.gamma_b == 0;
  QUANTD_RETURN_IF_ERROR(OnlyOneGap(question, /*needs_block=*/!weak));
  LawAnswer answer = AnswerOf(question);
  QUANTD_RETURN_IF_ERROR(Fill(law, question, &answer));
  WarnOutside("N", answer.billions, law.domain.billions, &answer);
  WarnOutside("Q_r", answer.low_share, law.domain.low_share, &answer);
  if (!weak) WarnOutside("Q_b", answer.block, law.domain.block, &answer);
  WarnSteep(&answer);
  return answer;
}

absl::StatusOr<LawAnswer> Ask(const BudgetLine& line, const LawQuestion& question) {
  if (!question.delta) return Wrong("delta is asked for, but this law holds for one delta only");
  QUANTD_RETURN_IF_ERROR(OnlyOneGap(question, /*needs_block=*/false));
  const double delta = DeltaOfRise(line.rise);
  if (!IsSame(*question.delta, delta)) {
    return Wrong("delta is ", *question.delta, ", but this law holds for ", delta, " only, a rise ",
                 "of the perplexity by ", 100 * line.rise, " %");
  }
  LawAnswer answer = AnswerOf(question);
  if (!question.low_share) {
    const double high_share = (std::log(answer.billions) - line.intercept) / line.slope;
    answer.low_share = std::clamp(1 - high_share, 0.0, 1.0);
    answer.likely = {answer.low_share, answer.low_share};
  } else {
    answer.billions = std::exp(line.slope * (1 - answer.low_share) + line.intercept);
    answer.likely = {answer.billions, answer.billions};
  }
  WarnOutside("N", answer.billions, line.domain.billions, &answer);
  WarnOutside("Q_r", answer.low_share, line.domain.low_share, &answer);
  return answer;
}

absl::StatusOr<LawAnswer> Ask(const BlockPower& power, const LawQuestion& question) {
  if (question.billions && !IsSame(*question.billions, power.billions)) {
    return Wrong("N is ", *question.billions, ", but this law holds for ", power.billions, " only");
  }
  if (question.low_share && !IsSame(*question.low_share, power.low_share)) {
    return Wrong("Q_r is ", *question.low_share, ", but this law holds for ", power.low_share,
                 " only");
  }
  LawQuestion filled = question;
  filled.billions = power.billions;
  filled.low_share = power.low_share;
  QUANTD_RETURN_IF_ERROR(OnlyOneGap(filled, /*needs_block=*/true));
  LawAnswer answer = AnswerOf(filled);
  if (!question.delta) {
    answer.delta = DeltaOfRise(power.factor * std::pow(answer.block, power.exponent) / 100);
    answer.likely = {answer.delta, answer.delta};
  } else {
    answer.block = std::pow(100 * RiseOfDelta(answer.delta) / power.factor, 1 / power.exponent);
    answer.likely = {answer.block, answer.block};
    if (!IsAtLeast(answer.block, 1)) {
      return absl::OutOfRangeError(absl::StrCat("no Q_b of 1 or more keeps delta at ", answer.delta,
                                                ": with Q_b = 1 it is ",
                                                DeltaOfRise(power.factor / 100)));
    }
  }
  WarnOutside("Q_b", answer.block, power.block, &answer);
  WarnSteep(&answer);
  return answer;
}

// ln of C exp(A Q_r), of N^-gamma_n and of (Q_b + d)^gamma_b: delta's factors.
double ShareTerm(const ScalingLaw& law, double low_share) {
  return std::log(law.c) + law.a * low_share;
}
double SizeTerm(const ScalingLaw& law, double billions) {
  return -law.gamma_n * std::log(billions);
}
double BlockTerm(const ScalingLaw& law, double block) {
  return law.gamma_b == 0 ? 0 : law.gamma_b * std::log(block + law.d);
}

}  // namespace

double DeltaOfRise(double rise) { return std::log1p(rise); }
double RiseOfDelta(double delta) { return std::expm1(delta); }

double LawDelta(const ScalingLaw& law, double billions, double low_share, double block) {
  if (low_share == 0) return 0;
  return std::exp(ShareTerm(law, low_share) + SizeTerm(law, billions) + BlockTerm(law, block));
}

double LawLowShare(const ScalingLaw& law, double billions, double block, double delta) {
  const double rest = std::log(law.c) + SizeTerm(law, billions) + BlockTerm(law, block);
  return std::clamp((std::log(delta) - rest) / law.a, 0.0, 1.0);
}

double LawBlock(const ScalingLaw& law, double billions, double low_share, double delta) {
  const double rest = ShareTerm(law, low_share) + SizeTerm(law, billions);
  return std::exp((std::log(delta) - rest) / law.gamma_b) - law.d;
}

double LawBillions(const ScalingLaw& law, double low_share, double block, double delta) {
  const double rest = ShareTerm(law, low_share) + BlockTerm(law, block);
  return std::exp((rest - std::log(delta)) / law.gamma_n);
}

absl::StatusOr<LawAnswer> AskLaw(const LawProfile& profile, const LawQuestion& question) {
  QUANTD_RETURN_IF_ERROR(CheckQuestion(question));
  return std::visit(
      [&](const auto& law) -> absl::StatusOr<LawAnswer> {
        QUANTD_RETURN_IF_ERROR(CheckConstants(law));
        QUANTD_ASSIGN_OR_RETURN(LawAnswer answer, Ask(law, question));
        QUANTD_RETURN_IF_ERROR(CheckFinite(answer));
        return answer;
      },
      profile.law);
}

double AverageBits(double low_share, double bits, double scale_bits, double block,
                   double high_bits) {
  return low_share * (bits + scale_bits / block) + (1 - low_share) * high_bits;
}

}  // namespace quantd
