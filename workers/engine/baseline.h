// What every report compares with: plain round to nearest with the same levels and groups.
#pragma once

#include "workers/core/spec.h"

namespace quantd {

// Round to nearest, min-max, no transform and no exceptions. Levels, partition and storage are the
// spec's; levels without scales and clusters give way to affine integers of as many bits, one set a
// column to one a row, and quantized second-level scales to F16. Additive levels give way to
// asymmetric integers in groups of 128 along rows (the last may be shorter), of as many bits as a
// weight's codes take, rounded, and at least 2.
Spec BaselineOf(const Spec& spec);

// `spec` is its own baseline.
bool IsBaseline(const Spec& spec);

}  // namespace quantd
