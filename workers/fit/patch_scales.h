// Scales of an additive code from norms (AQLM, arXiv 2401.06118, section 3.1). Private to fit/.
#pragma once

#include <cstdint>

#include "workers/core/cancel.h"
#include "workers/core/executor.h"
#include "workers/core/spec.h"
#include "workers/levels/additive.h"
#include "workers/linalg/weight_view.h"

namespace quantd {

// Sizes scales, and scale_tables and scale_codes for StorageKind::kTable.
void ReshapePatchScales(const Spec& spec, const AdditiveShape& shape, AdditiveCode* code);

// Scales of out groups [begin, end): |W_i| + 1e-9 over the out group (scale_columns = 1) or the
// patch, rounded to F16 and kept within its positive numbers; 1 where all weights are 0.
//
// StorageKind::kTable: each out group's table is the 1-D k-means of its scales with 2^storage.bits
// centers, ascending; a patch has the nearest of them (ties: the lower one). Patches of zeros,
// which any scale fits, have no say in it. Returns early when cancelled.
void FitPatchScales(const Spec& spec, const AdditiveShape& shape, const WeightView& weight,
                    int64_t begin, int64_t end, Executor& executor, const CancelToken& cancel,
                    AdditiveCode* code);

}  // namespace quantd
