#include "workers/solve/sweep_kernels.h"

namespace quantd {

const SweepKernels& ActiveSweepKernels() {
#if defined(__x86_64__)
  static const SweepKernels& best =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
          ? kSweepAvx512
          : (__builtin_cpu_supports("avx2") ? kSweepAvx2 : kSweepBaseline);
  return best;
#else
  return kSweepBaseline;
#endif
}

}  // namespace quantd
