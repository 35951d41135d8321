// How much memory this process may use.
#pragma once

#include <cstdint>
#include <string>

namespace quantd {

// min(MemTotal, every cgroup limit from the process's own group up to the root), v2 and v1. 0 when
// nothing can be read. `root` is prefixed to /proc and /sys: tests point it at a folder of their
// own.
uint64_t MemoryLimitBytes(const std::string& root = "");

}  // namespace quantd
