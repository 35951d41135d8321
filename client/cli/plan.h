// quantctl plan: measures candidates on every layer, chooses one for each, and writes the recipe.
#pragma once

#include "client/cli/command_line.h"
#include "client/cli/environment.h"

namespace quantd::cli {

int RunPlan(const PlanFlags& flags, Environment* env);

}  // namespace quantd::cli
