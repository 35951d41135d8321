// bitsandbytes' signed dynamic map of 8 bits: what the codes of StorageKind::kNested stand for.
#pragma once

#include <array>

namespace quantd {

// Ascending, from -0.99296874 to 1, 0 at 127 (formats.md 8.1). For i = 0..6: the 2^i means of
// neighbours among 2^i + 1 even points from 0.1 to 1, times 10^(i-6), with both signs; then 0
// and 1. All in F32, the upper half of the points counted from the end.
const std::array<float, 256>& DynamicMap();

}  // namespace quantd
