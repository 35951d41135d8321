#include "workers/linalg/dot.h"

namespace quantd {

double DotInDouble(const float* a, const float* b, int64_t count) {
  double run[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int k = 0; k < 8; ++k) run[k] += static_cast<double>(a[i + k]) * b[i + k];
  }
  for (int k = 0; i < count; ++i, ++k) run[k] += static_cast<double>(a[i]) * b[i];
  return ((run[0] + run[4]) + (run[2] + run[6])) + ((run[1] + run[5]) + (run[3] + run[7]));
}

}  // namespace quantd
