// Scales (and real zeros) that are themselves quantized: StorageKind::kInt and kNested.
//
// A first pass fits every group of the stripe in F32 as if nothing were rounded (FirstLevelSpec);
// then the grid of parameters is stored and the zeros follow the stored scales: z' = z s / s', so
// that -z' s' stays where the range began.
//
// kInt (SpQR): runs of `super_group` rows of the grid in one column of it share a step and a zero,
// both F16 (subnormal steps included): s' = step (code - zero) with codes of `bits` bits over the
// range of the run. The same for real zeros. A step below 2^-11 of the run's largest magnitude is
// raised to that (and to 2^-24), which keeps its zero within F16.
// kNested (bitsandbytes): d = s - offset; runs of 256 d in row-major order share their largest
// magnitude a in F32, and s' = map[code] a + offset, the nearest entry of DynamicMap(), ties to the
// lower one.
// A code whose scale is not a positive normal number is raised to the first one whose scale is.
// Groups of zeros do not widen a run: they take the code nearest to what the run offers anyway.
#pragma once

#include <cstdint>
#include <vector>

#include "workers/core/coded.h"
#include "workers/core/spec.h"

namespace quantd {

inline bool HasSecondLevel(const Storage& storage) {
  return storage.kind == StorageKind::kInt || storage.kind == StorageKind::kNested;
}

// The spec of the first pass: F32 scales, and real zeros where there are zeros. Others: `spec`.
Spec FirstLevelSpec(const Spec& spec);

// Stores the grid of a stripe. out->scales holds the first pass's scales, 0 for groups of zeros,
// and `zeros` [param_rows, groups] its zeros (used where levels are asymmetric). Writes scales,
// scale codes, super, and zeros, real zeros and zero codes where `out` has them. Returns the index
// into the grid of the first scale that the stored form cannot hold, -1 without one.
int64_t StoreSecondLevel(const std::vector<float>& zeros, float scale_offset, Coded* out);

}  // namespace quantd
