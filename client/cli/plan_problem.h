// From what the user asks for and measured frontiers to the problem that the planner solves.
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

// Bounds on the bits of a layer's code.
struct BitRange {
  double least = 0;
  double most = 1e9;
};

// Goal and constraints, checked against the layers: all that is known before a measurement.
struct PlanWishes {
  PlanGoal goal;
  std::string goal_text;               // "4 bits a weight"
  std::vector<BitRange> bits;          // by layer
  std::vector<double> sensitivities;   // by layer
  std::vector<std::vector<int>> same;  // layers that agree
  std::vector<std::string> notes;      // ready to print
};

// Layers that loaders fuse agree, but for those that the user leaves out. INVALID_ARGUMENT for a
// pattern that matches no layer, a module of the sensitivity file that is none, a layer to which
// the bounds leave nothing, a share in low precision of several candidates; OUT_OF_RANGE for a size
// that what is not planned takes up alone.
absl::StatusOr<PlanWishes> ReadWishes(const PlanInput& input, const PlanFlags& flags);

struct PlanProblem {
  AllocationProblem problem;  // layers as in PlanInput::layers
  std::string goal;           // in words
  std::string error_of;  // what errors are of: "layer outputs", "weights", "layer outputs, ..."
  std::vector<std::string> notes;  // what was not taken, and why: ready to print
};

// Every layer may stay as it is, within its bounds. INVALID_ARGUMENT for a layer of which nothing
// within its bounds ended OK.
absl::StatusOr<PlanProblem> MakePlanProblem(const PlanInput& input, const PlanWishes& wishes,
                                            const std::map<std::string, LayerFrontier>& frontiers);

// At most so many bytes lie in the model's files beside tensors: safetensors headers.
uint64_t HeaderBound(const PlanInput& input);

}  // namespace quantd::cli
