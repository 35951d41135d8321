// The multiple-choice knapsack by trying every choice, and by a table over all capacities.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "workers/planner/knapsack.h"

namespace quantd::reference {

// Calls `visit` with every choice of one index below each of `counts`, in lexicographic order.
void ForEachChoice(const std::vector<int>& counts,
                   const std::function<void(const std::vector<int>&)>& visit);

struct KnapsackBest {
  std::vector<int> choice;
  double size = 0;
  double cost = 0;
};

// Least cost within the capacity, of equal costs (within 1e-12 of them) the smallest size; nullopt
// when no choice fits. Only for a few small classes.
std::optional<KnapsackBest> BestChoice(const std::vector<std::vector<KnapsackOption>>& classes,
                                       double capacity);

// Least cost within the capacity, for whole sizes; infinite when no choice fits.
double LeastCost(const std::vector<std::vector<KnapsackOption>>& classes, int capacity);

}  // namespace quantd::reference
