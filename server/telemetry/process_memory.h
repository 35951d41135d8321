// What the kernel says about this process's memory.
#pragma once

#include <cstdint>

namespace quantd {

// Resident set size in bytes; 0 where /proc cannot be read.
uint64_t ResidentBytes();

}  // namespace quantd
