// The parts of AvailableThreads() that can be tested: the file system's root and the affinity are
// parameters.
#pragma once

#include <optional>
#include <string>

namespace quantd {

// CPUs that the control groups of this process allow, as a fraction of CPU time: 1.5 for a quota of
// 150 ms in periods of 100 ms. The least over the process's own group and all its ancestors, cgroup
// v2 (cpu.max) first, else v1 (cpu.cfs_quota_us / cpu.cfs_period_us). Absent when nothing limits it
// or nothing can be read. `root` stands before /proc and /sys: "" on a real machine, no trailing
// slash.
std::optional<double> CgroupCpuQuota(const std::string& root);

// min(affinity, ceil(quota)), at least 1.
int ThreadsFor(int affinity, std::optional<double> quota);

}  // namespace quantd
