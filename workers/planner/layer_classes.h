// Layers that take the same candidate, as classes with the options that all of their layers have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "workers/planner/allocation.h"

namespace quantd {

struct ClassOption {
  int candidate = kDense;
  uint64_t bytes = 0;
  double error = 0;  // what it adds to the plan's error
};

struct LayerClass {
  std::vector<int> layers;  // rising
  uint64_t parameters = 0;
  std::vector<ClassOption> options;  // in the order of the first layer's
};

// The sets that 0 .. count - 1 fall into when all members of each of `sets` belong together, in the
// order of their first members; members rising. Of no meaning once the limits' token is set.
std::vector<std::vector<int>> JoinedSets(int count, const std::vector<std::vector<int>>& sets,
                                         const KnapsackLimits& limits);

// INVALID_ARGUMENT when the layers of a class have no candidate in common; the token's status once
// it is set. The problem has passed CheckLayers().
absl::StatusOr<std::vector<LayerClass>> ClassesOf(const AllocationProblem& problem);

// By layer, the index of the option that has its class's candidate.
std::vector<int> ChoiceOf(const AllocationProblem& problem, const std::vector<LayerClass>& classes,
                          const std::vector<int>& candidate_of_class);

// Index of the layer's option with this candidate; -1 if it has none.
int OptionOf(const PlanLayer& layer, int candidate);

std::string CandidateName(const AllocationProblem& problem, int candidate);

}  // namespace quantd
