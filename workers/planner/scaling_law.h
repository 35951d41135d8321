// Scaling laws of mixed quantization: how much worse a model gets, by its size, the share of its
// weights in low precision and how many of them share a scale.
//
//   delta = C exp(A Q_r) N^-gamma_n (Q_b + d)^gamma_b        (arXiv 2410.06722)
//
// delta: rise of the loss in nats, ln(1 + relative rise of the perplexity). N: parameters in
// billions. Q_r: weights in low precision / all weights. Q_b: weights that share one scale. The
// constants hold for one format, one way of choosing layers and one family of models.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace quantd {

// Both ends included.
struct LawRange {
  double least = 0;
  double most = 0;
};

// Where the law was measured.
struct LawDomain {
  LawRange billions;   // N
  LawRange low_share;  // Q_r
  LawRange block;      // Q_b
};

struct ScalingLaw {
  double c = 0;        // > 0
  double a = 0;        // > 0
  double gamma_n = 0;  // > 0
  double gamma_b = 0;  // >= 0; 0: the law does not know Q_b (its weak form)
  double d = 0;        // >= 0
  // Root mean square of ln(delta) - ln(fit) over its points, at most 100; 0: not known.
  double residual = 0;
  LawDomain domain;
};

// Q_r at most for one fixed rise of the perplexity: N = exp(slope (1 - Q_r) + intercept), N in
// billions (the law's first version, its Fig. 6).
struct BudgetLine {
  double rise = 0;   // relative, of the perplexity: 0.05
  double slope = 0;  // < 0
  double intercept = 0;
  LawDomain domain;  // `block` is not used
};

// Rise of the perplexity at one N and one Q_r: 100 rise = factor Q_b^exponent (its Fig. 8).
struct BlockPower {
  double billions = 0;
  double low_share = 0;
  double factor = 0;    // > 0
  double exponent = 0;  // > 0
  LawRange block;
};

// A law under a name that tells where its numbers come from.
struct LawProfile {
  std::string name;        // "qwen1.5-mxint4-pooled"
  std::string provenance;  // paper and figure, or "our refit of ..."
  std::string holds_for;   // format, granularity, models
  std::variant<ScalingLaw, BudgetLine, BlockPower> law;
};

// Loss in nats from a relative rise of the perplexity, and back.
double DeltaOfRise(double rise);   // ln(1 + rise)
double RiseOfDelta(double delta);  // exp(delta) - 1

// Three of the four; the one that is missing is asked for. For a BudgetLine `delta` must be that of
// its rise and `block` missing or anything; for a BlockPower N and Q_r must be its own or missing.
struct LawQuestion {
  std::optional<double> billions;   // > 0
  std::optional<double> low_share;  // [0, 1]
  std::optional<double> block;      // >= 1
  std::optional<double> delta;      // > 0, nats
};

struct LawAnswer {
  // All four, the one asked for filled in: delta at these settings, the largest Q_r (clamped to
  // 0..1) or Q_b within delta, or the smallest N.
  double billions = 0;
  double low_share = 0;
  double block = 0;
  double delta = 0;
  // Of the one asked for, delta being off by its residual either way (one standard deviation of the
  // fit's points); both ends equal where the residual is not known.
  LawRange likely;
  // What lies outside of what the law was measured on, in words; empty inside.
  std::vector<std::string> warnings;
};

// delta for valid arguments, without any check: 0 at Q_r = 0, where the exponential would not be.
double LawDelta(const ScalingLaw& law, double billions, double low_share, double block);
// The inverses, as they come out: Q_r clamped to [0, 1], Q_b and N not clamped.
double LawLowShare(const ScalingLaw& law, double billions, double block, double delta);
double LawBlock(const ScalingLaw& law, double billions, double low_share, double delta);
double LawBillions(const ScalingLaw& law, double low_share, double block, double delta);

// INVALID_ARGUMENT naming the value for a question that has not exactly one gap (a weak law or a
// BudgetLine has no use for `block`, it may be missing too), for values out of range, and for what
// this kind of law cannot answer; OUT_OF_RANGE when no value in range answers (no Q_b of 1 or more
// within delta, a number or a likely end of it that no double holds).
absl::StatusOr<LawAnswer> AskLaw(const LawProfile& profile, const LawQuestion& question);

// All-in bits of a weight, on average: Q_r (bits + scale_bits / Q_b) + (1 - Q_r) high_bits.
double AverageBits(double low_share, double bits, double scale_bits, double block,
                   double high_bits = 16);

}  // namespace quantd
