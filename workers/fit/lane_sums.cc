#include "workers/fit/lane_sums.h"

#include <algorithm>

namespace quantd {

int64_t SumLanes(int64_t items, int64_t numbers) {
  constexpr int64_t kBudget = int64_t{1} << 23;
  const int64_t lanes = std::clamp<int64_t>(kBudget / std::max<int64_t>(numbers, 1), 4, 16);
  return std::clamp<int64_t>(items, 1, lanes);
}

std::vector<double> SumInLanes(int64_t lanes, int64_t numbers, Executor& executor,
                               absl::FunctionRef<void(int64_t lane, double* sums)> fill) {
  // Small sums go all at once: threads then need not wait for each other between waves.
  constexpr int64_t kSmall = int64_t{1} << 20;
  const int64_t wave =
      lanes * numbers <= kSmall ? lanes : std::min<int64_t>(lanes, executor.width());
  std::vector<double> total(numbers, 0.0);
  std::vector<std::vector<double>> partial(wave);
  for (int64_t first = 0; first < lanes; first += wave) {
    const int64_t count = std::min(wave, lanes - first);
    executor.ParallelFor(count, [&](int64_t i) {
      partial[i].assign(numbers, 0.0);
      fill(first + i, partial[i].data());
    });
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t k = 0; k < numbers; ++k) total[k] += partial[i][k];
    }
  }
  return total;
}

}  // namespace quantd
