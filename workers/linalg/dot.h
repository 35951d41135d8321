// Sums of products of F32 numbers in double.
#pragma once

#include <cstdint>

namespace quantd {

// a [count] . b [count], both F32, in eight sums by index, joined in a fixed order: one addition
// need not wait for the one before, and the bits do not depend on the CPU.
double DotInDouble(const float* a, const float* b, int64_t count);

}  // namespace quantd
