// The page of a plan: where its bits go, what they buy, and how it lies to uniform precision.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "workers/planner/allocation.h"

namespace quantd {

struct PlanPageLayer {
  std::string name;
  uint64_t parameters = 0;
  std::string chosen;        // "gptq int3 g128", "dense"
  double bits = 0;           // all-in, of the chosen option
  double error = 0;          // relative, of the chosen option
  double uniform_error = 0;  // of the best uniform plan's option here; equal to `error` without
};

// delta of a scaling law over Q_r, for one Q_b.
struct LawCurve {
  double block = 0;                               // Q_b
  std::vector<std::pair<double, double>> points;  // (Q_r, delta in nats)
};

struct PlanPage {
  std::string title;     // the model's name
  std::string goal;      // "4.00 bits a weight"
  std::string error_of;  // what errors are of: "layer outputs" or "weights"
  std::vector<std::pair<std::string, std::string>> facts;  // label, value: rows of the head table
  PlanTotals plan;
  std::vector<PlanTotals> frontier;  // least error by budget, by rising bytes
  struct Uniform {
    std::string name;
    PlanTotals totals;
  };
  std::vector<Uniform> uniform;
  int best_uniform = -1;              // of `uniform`
  std::vector<PlanPageLayer> layers;  // in the model's order
  // Empty where no law was asked for.
  std::string law;      // its name and provenance
  double billions = 0;  // N
  std::vector<LawCurve> law_curves;
  std::optional<double> law_delta;  // at the plan's Q_r and Q_b; empty: the law does not say
  std::vector<std::string> law_warnings;
};

// One self-contained HTML document: inline style and SVG, no script, nothing fetched.
std::string RenderPlanPage(const PlanPage& page);

}  // namespace quantd
