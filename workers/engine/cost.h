// The cost model: bytes, flops and seconds of a job from shapes and spec alone.
#pragma once

#include <cstdint>

#include "workers/core/job.h"
#include "workers/engine/check.h"
#include "workers/engine/engine.h"
#include "workers/pack/layout.h"

namespace quantd {

// Bytes that every job may hold beside its tensors: frames between wire and workers in both
// directions.
inline constexpr uint64_t kFrameBytes = uint64_t{10} << 20;

// `job` is valid and resolved; `shape` is from CheckQuantize.
Cost QuantizeCost(const QuantizeJob& job, const Layout& layout, const QuantizeShape& shape,
                  int width);

// The same for all candidates one after the other: their results are not kept, the uploads are.
Cost MeasureCost(const MeasureJob& job, const Layout& layout, const MeasureShape& shape, int width);

Cost DequantizeCost(const DequantizeJob& job, const Layout& layout, int width);

}  // namespace quantd
