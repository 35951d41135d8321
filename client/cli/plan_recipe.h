// A plan as the recipe that quantize runs unchanged.
#pragma once

#include <string>
#include <vector>

#include "client/cli/plan_input.h"
#include "workers/planner/allocation.h"

namespace quantd::cli {

// `choice` is by layer an index into its options. `comment`: lines that stand at the top, without
// '#'. One rule a candidate, with the modules that get it; layers that stay as they are share one.
std::string PlanRecipe(const PlanInput& input, const std::vector<PlanLayer>& layers,
                       const std::vector<int>& choice, const std::vector<std::string>& comment);

}  // namespace quantd::cli
