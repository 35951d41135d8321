#include "workers/fit/sampling.h"

namespace quantd {

// Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
std::vector<int64_t> SampleInOrder(int64_t count, int64_t take, uint64_t seed,
                                   const CancelToken& cancel) {
  SplitMix64 random(seed);
  std::vector<int64_t> sample;
  sample.reserve(take);
  for (int64_t i = 0; i < count && take > 0; ++i) {
    if (i % (1 << 16) == 0 && cancel.cancelled()) break;
    if (random.Unit() * static_cast<double>(count - i) >= static_cast<double>(take)) continue;
    sample.push_back(i);
    --take;
  }
  return sample;
}

}  // namespace quantd
