// Large sums whose bits do not depend on threads. Private to fit/.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "workers/core/executor.h"

namespace quantd {

// In how many lanes `items` are summed when each lane's sums are `numbers` doubles: at most 16, at
// most one for each item, and no more than 64 MiB of sums unless that would be fewer than 4.
int64_t SumLanes(int64_t items, int64_t numbers);

// Sums of all lanes, added in the order of lanes. fill(lane, sums [numbers]) adds what belongs to
// the lane to zeros, on any thread. No more partial sums than threads are held at a time.
std::vector<double> SumInLanes(int64_t lanes, int64_t numbers, Executor& executor,
                               absl::FunctionRef<void(int64_t lane, double* sums)> fill);

// First of `items` that lane `lane` of `lanes` holds; lane + 1 gives the end.
inline int64_t LaneBegin(int64_t items, int64_t lanes, int64_t lane) {
  return items / lanes * lane + items % lanes * lane / lanes;
}

}  // namespace quantd
