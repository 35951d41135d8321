// From measured frontiers and what the user asks for to the problem that the planner solves.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "client/cli/frontier.h"
#include "client/cli/plan_input.h"
#include "workers/planner/allocation.h"

namespace quantd::cli {

struct PlanProblem {
  AllocationProblem problem;  // layers as in PlanInput::layers
  std::string goal;           // in words: "4 bits a weight (5,382,144 bytes)"
  std::string error_of;  // what errors are of: "layer outputs", "weights", "layer outputs, ..."
  std::vector<std::string> notes;  // what was not taken, and why: ready to print
};

// Every layer may stay as it is; layers that loaders fuse agree. INVALID_ARGUMENT for a pattern
// that matches no layer, a module of the sensitivity file that is none, a layer to which the
// constraints leave nothing, and where a share in low precision is asked for of several candidates.
absl::StatusOr<PlanProblem> MakePlanProblem(const PlanInput& input,
                                            const std::map<std::string, LayerFrontier>& frontiers,
                                            const PlanFlags& flags);

// At most so many bytes lie in the model's files beside tensors: safetensors headers.
uint64_t HeaderBound(const PlanInput& input);

}  // namespace quantd::cli
