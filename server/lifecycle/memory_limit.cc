#include "server/lifecycle/memory_limit.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace quantd {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// The number in a one-line file; kUnlimited when it is absent or says "max".
uint64_t ReadLimit(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  uint64_t value = 0;
  if (!(file >> word) || !absl::SimpleAtoi(word, &value)) return kUnlimited;
  return value;
}

// The smallest limit among `group` and its parents below `mount`.
uint64_t LimitUpwards(const std::string& mount, std::string group, const char* file) {
  uint64_t limit = kUnlimited;
  for (;;) {
    limit = std::min(limit, ReadLimit(absl::StrCat(mount, group, "/", file)));
    const size_t slash = group.find_last_of('/');
    if (group.empty() || slash == std::string::npos) return limit;
    group.resize(slash);
  }
}

uint64_t CgroupLimit(const std::string& root) {
  uint64_t limit = kUnlimited;
  std::ifstream groups(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {  // hierarchy:controllers:/path
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::string group = parts[2] == "/" ? "" : parts[2];
    if (parts[1].empty()) {
      limit = std::min(limit, LimitUpwards(root + "/sys/fs/cgroup", group, "memory.max"));
    } else if (parts[1] == "memory") {
      limit = std::min(
          limit, LimitUpwards(root + "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
  }
  return limit;
}

uint64_t MemTotal(const std::string& root) {
  std::ifstream meminfo(root + "/proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  std::string unit;
  while (meminfo >> key >> kib) {
    if (key == "MemTotal:") return kib * 1024;
    std::getline(meminfo, unit);
  }
  return kUnlimited;
}

}  // namespace

uint64_t MemoryLimitBytes(const std::string& root) {
  const uint64_t limit = std::min(MemTotal(root), CgroupLimit(root));
  return limit == kUnlimited ? 0 : limit;
}

}  // namespace quantd
