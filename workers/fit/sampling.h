// Random numbers and samples that are the same everywhere: std's distributions are not specified to
// the bit.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/core/cancel.h"

namespace quantd {

// SplitMix64 (Steele, Lea, Flood 2014): a counter that grows by the golden gamma, through a
// finalizer.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15u;
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  }

  // Uniform in [0, bound), bound >= 1.
  uint64_t Below(uint64_t bound) {
    // The highest values, too few for another whole round of remainders, are drawn again.
    const uint64_t rest = (UINT64_MAX % bound + 1) % bound;
    uint64_t x = Next();
    while (x > UINT64_MAX - rest) x = Next();
    return x % bound;
  }

  // Uniform in [0, 1), a multiple of 2^-53.
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

// `take` of the numbers [0, count), each set with the same probability, ascending. Requires 0 <=
// take <= count. Time is proportional to count; returns what it has when cancelled.
std::vector<int64_t> SampleInOrder(int64_t count, int64_t take, uint64_t seed,
                                   const CancelToken& cancel);

}  // namespace quantd
