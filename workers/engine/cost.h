// The cost model: bytes, flops and seconds of a job from shapes and spec alone.
#pragma once

#include <cstdint>

#include "workers/core/job.h"
#include "workers/engine/engine.h"
#include "workers/methods/method.h"
#include "workers/pack/layout.h"

namespace quantd {

// How a job's statistics arrive, for the memory they need.
enum class Statistics : uint8_t { kNone, kHessian, kActivations };

// Bytes that every job may hold beside its tensors: frames between wire and workers in both
// directions.
inline constexpr uint64_t kFrameBytes = uint64_t{10} << 20;

// `job` is valid and resolved; `n` columns are shared by all weights.
Cost QuantizeCost(const QuantizeJob& job, const Method& method, const Layout& layout,
                  Statistics statistics, int64_t n, int width);

Cost DequantizeCost(const DequantizeJob& job, int width);

}  // namespace quantd
