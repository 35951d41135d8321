#include "tests/reference/knapsack_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantd::reference {

void ForEachChoice(const std::vector<int>& counts,
                   const std::function<void(const std::vector<int>&)>& visit) {
  std::vector<int> choice(counts.size(), 0);
  for (;;) {
    visit(choice);
    size_t c = counts.size();
    while (c > 0 && choice[c - 1] + 1 == counts[c - 1]) choice[--c] = 0;
    if (c == 0) return;
    ++choice[c - 1];
  }
}

std::optional<KnapsackBest> BestChoice(const std::vector<std::vector<KnapsackOption>>& classes,
                                       double capacity) {
  std::vector<int> counts;
  for (const std::vector<KnapsackOption>& of : classes) {
    counts.push_back(static_cast<int>(of.size()));
  }
  std::optional<KnapsackBest> best;
  ForEachChoice(counts, [&](const std::vector<int>& choice) {
    KnapsackBest tried = {choice, 0, 0};
    for (size_t c = 0; c < classes.size(); ++c) {
      tried.size += classes[c][choice[c]].size;
      tried.cost += classes[c][choice[c]].cost;
    }
    if (tried.size > capacity) return;
    const double same = best ? 1e-12 * best->cost : 0;
    if (!best || tried.cost < best->cost - same ||
        (tried.cost <= best->cost + same && tried.size < best->size)) {
      best = tried;
    }
  });
  return best;
}

double LeastCost(const std::vector<std::vector<KnapsackOption>>& classes, int capacity) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> least(capacity + 1, 0.0);  // by capacity, of the classes so far
  for (const std::vector<KnapsackOption>& of : classes) {
    std::vector<double> next(capacity + 1, infinity);
    for (const KnapsackOption& option : of) {
      const int size = static_cast<int>(option.size);
      for (int room = size; room <= capacity; ++room) {
        next[room] = std::min(next[room], least[room - size] + option.cost);
      }
    }
    least = next;
  }
  return least[capacity];
}

}  // namespace quantd::reference
