// What plans amount to, and the plans that give every layer the same candidate.
#pragma once

#include <string>
#include <vector>

#include "workers/planner/allocation.h"
#include "workers/planner/layer_classes.h"

namespace quantd {

// By layer: its share of the plan's error, parameters times sensitivity; they add up to 1.
// Sensitivities that are all 0 tell no layer from another, just as when all are 1.
std::vector<double> ErrorWeights(const std::vector<PlanLayer>& layers);

// What a class takes in a uniform plan: the candidate where it has it, or else its first one, which
// is the only one of a class without a choice.
int UniformCandidate(const LayerClass& of, int candidate);

// The same candidate for every class of layers that has a choice, for each candidate that all of
// those have: by bytes, then by error, then by candidate. Some of them once the limits' token is
// set. `classes` are the problem's.
std::vector<UniformPlan> UniformPlans(const AllocationProblem& problem,
                                      const std::vector<LayerClass>& classes);

// Whether a plan meets the goal, but for rounding of its error.
bool Meets(const PlanGoal& goal, const PlanTotals& totals);

// The largest error that meets an error goal: the goal itself, but for rounding.
double ErrorLimit(const PlanGoal& goal);

// Whether `a` is better than `b`, both of which meet the goal.
bool IsBetter(const PlanGoal& goal, const PlanTotals& a, const PlanTotals& b);

// Index of the plan that meets the goal best; -1 if none meets it.
int BestUniform(const PlanGoal& goal, const std::vector<UniformPlan>& plans);

// Shortest decimal of six digits or more that is not below `value`: a limit that can be met.
std::string PrintedLimit(double value);

}  // namespace quantd
