// What a plan came to, three times: as text, as JSON and as a page.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "client/cli/plan_input.h"
#include "client/cli/plan_problem.h"
#include "client/cli/report_json.h"
#include "client/pages/plan_page.h"
#include "workers/planner/allocation.h"
#include "workers/planner/scaling_law.h"

namespace quantd::cli {

// A plan with all that it was made from, which outlives it. Figures are achieved ones.
struct PlanResult {
  const PlanFlags* flags = nullptr;
  const PlanInput* input = nullptr;
  const PlanProblem* problem = nullptr;
  const LawProfile* law = nullptr;
  Plan plan;  // of random draws: choice, totals and uniform plans alone

  const PlanLayer& layer(size_t l) const { return problem->problem.layers[l]; }
  const LayerOption& option(size_t l) const { return layer(l).options[plan.choice[l]]; }
  // Of tensors; file headers come on top.
  uint64_t model_bytes() const { return plan.totals.bytes + input->other_bytes; }
  // Index of the best uniform plan that quantizes anything; -1: none is within the goal.
  int best_uniform() const;
  // "gptq:bits=3", "as it is".
  std::string NameOf(int candidate) const;
};

double BitsOf(const PlanLayer& layer, const LayerOption& option);

// Tables of the plan beside uniform ones, and of what was chosen; with flags->verbose every layer.
std::string PlanText(const PlanResult& result);

// {"goal", "plan", "bound", "gap", "uniform", "best_uniform", "model", "layers"}; stable keys.
Json PlanToJson(const PlanResult& result);

// Errors of the frontier.
absl::StatusOr<PlanPage> MakePlanPage(const PlanResult& result);

}  // namespace quantd::cli
