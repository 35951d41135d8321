// The constants of a scaling law from measured points: least squares of ln(delta) on
// [1, Q_r, -ln N, ln(Q_b + d)], d from a grid by the least residual.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "workers/planner/scaling_law.h"

namespace quantd {

struct LawPoint {
  double billions = 0;   // > 0
  double low_share = 0;  // [0, 1]
  double block = 0;      // >= 1
  double delta = 0;      // > 0, nats
};

// Standard errors, 0 for what was held; of c it is that of ln c.
struct LawErrors {
  double ln_c = 0;
  double a = 0;
  double gamma_n = 0;
  double gamma_b = 0;
};

struct LawFit {
  ScalingLaw law;  // domain: what the points span
  LawErrors errors;
  double r2 = 0;  // of ln delta
  int points = 0;
  std::vector<std::string> held;  // "gamma_n held at 0.512: all points have N = 7"
};

// `prior` (may be null): exponents that the points say nothing about are held at its values;
// without it, such points are INVALID_ARGUMENT naming what is the same in all of them. A single
// point rescales C of the prior. INVALID_ARGUMENT for no points, a point out of range (naming its
// number, from 1, and the value; delta must be above 0), columns that depend on each other, and
// constants that no law has (a gamma_n below 0).
//
// `d` holds d at this value, which is what points over few block sizes ask for: they hardly tell
// one d from another, and gamma_b and C change with it.
absl::StatusOr<LawFit> FitLaw(absl::Span<const LawPoint> points, const ScalingLaw* prior,
                              std::optional<double> d = std::nullopt);

}  // namespace quantd
