// The scaling-law paper's procedure: random draws of what stays dense, the best by a loss.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "client/cli/environment.h"
#include "client/cli/plan_input.h"
#include "client/cli/plan_problem.h"
#include "workers/planner/random_search.h"

namespace quantd::cli {

// flags.trials draws at the problem's share in low precision. With flags.loss_command each draw's
// recipe is written to "<recipe>.trial" and the program run on it; what it prints last is the
// trial's loss. Errors of DrawTrials; INTERNAL for a program that fails or prints no number;
// CANCELLED when stopped.
absl::StatusOr<RandomTrial> SearchAtRandom(const PlanInput& input, const PlanProblem& problem,
                                           const PlanFlags& flags, Environment* env);

// Layers by transformer block: names with the same number come together. For draws by block.
std::vector<std::vector<int>> TransformerBlocks(const PlanInput& input);

}  // namespace quantd::cli
