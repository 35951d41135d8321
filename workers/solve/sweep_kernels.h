// The two inner loops of error feedback, compiled once per CPU level and picked at run time.
//
// One lane per row of the weight: arrays are [columns, rows] with a stride between columns.
// Products and sums are plain F32 in the order given, never fused, so all levels give the same
// bits.
#pragma once

#include <cstdint>

namespace quantd {

struct SweepKernels {
  const char* name;

  // sum[r] += d[0][r] * l[0] + d[1][r] * l[1] + ..., one after the other, for r < rows.
  void (*gather)(const float* d, int64_t stride, const float* l, int64_t count, int64_t rows,
                 float* sum);

  // a[j][r] -= e[r] * u[j] for j < count, r < rows.
  void (*spread)(const float* e, const float* u, int64_t count, int64_t rows, float* a,
                 int64_t stride);
};

extern const SweepKernels kSweepBaseline;
#if defined(__x86_64__)
extern const SweepKernels kSweepAvx2;
extern const SweepKernels kSweepAvx512;
#endif

// The fastest table that this CPU runs.
const SweepKernels& ActiveSweepKernels();

}  // namespace quantd
