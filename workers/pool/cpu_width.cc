#include "workers/pool/cpu_width.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "workers/pool/pool.h"

namespace quantd {
namespace {

// The first line of a small file; absent when there is none.
std::optional<std::string> FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

std::optional<double> Ratio(absl::string_view quota, absl::string_view period) {
  double q = 0;
  double p = 0;
  if (!absl::SimpleAtod(quota, &q) || !absl::SimpleAtod(period, &p)) return std::nullopt;
  if (!(q > 0) || !(p > 0) || !std::isfinite(q) || !std::isfinite(p)) return std::nullopt;
  return q / p;
}

// "150000 100000" or "max 100000".
std::optional<double> QuotaV2(const std::string& folder) {
  const std::optional<std::string> line = FirstLine(absl::StrCat(folder, "/cpu.max"));
  if (!line) return std::nullopt;
  const std::vector<std::string> words = absl::StrSplit(*line, ' ', absl::SkipWhitespace());
  if (words.size() != 2) return std::nullopt;
  return Ratio(words[0], words[1]);
}

// A quota of -1 stands for none.
std::optional<double> QuotaV1(const std::string& folder) {
  const std::optional<std::string> quota = FirstLine(absl::StrCat(folder, "/cpu.cfs_quota_us"));
  const std::optional<std::string> period = FirstLine(absl::StrCat(folder, "/cpu.cfs_period_us"));
  if (!quota || !period) return std::nullopt;
  return Ratio(*quota, *period);
}

std::optional<double> Least(std::optional<double> a, std::optional<double> b) {
  if (!a) return b;
  if (!b) return a;
  return std::min(*a, *b);
}

// The least quota of `group` and its ancestors under `mount`. Inside a container the group's path
// is often the host's and does not exist under the mount: missing folders limit nothing.
template <typename Quota>
std::optional<double> LeastUpwards(const std::string& mount, std::string group, Quota quota) {
  if (group.find("..") != std::string::npos) group = "/";  // outside of our cgroup namespace
  std::optional<double> least;
  while (true) {
    while (!group.empty() && group.back() == '/') group.pop_back();
    least = Least(least, quota(mount + group));
    if (group.empty()) return least;
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

struct Groups {
  std::optional<std::string> v2;  // path of the one v2 group
  std::optional<std::string> v1;  // path of the v1 group that holds the cpu controller
};

// Lines of /proc/self/cgroup: "0::/path" for v2, "4:cpu,cpuacct:/path" for v1.
Groups ReadGroups(const std::string& root) {
  Groups groups;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    if (parts[0] == "0" && parts[1].empty()) {
      groups.v2 = parts[2];
      continue;
    }
    for (absl::string_view controller : absl::StrSplit(parts[1], ',')) {
      if (controller == "cpu") groups.v1 = parts[2];
    }
  }
  return groups;
}

int Affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

std::optional<double> CgroupCpuQuota(const std::string& root) {
  const Groups groups = ReadGroups(root);
  const std::string mount = root + "/sys/fs/cgroup";
  std::optional<double> quota;
  if (groups.v2) quota = LeastUpwards(mount, *groups.v2, QuotaV2);
  if (quota || !groups.v1) return quota;
  for (absl::string_view controller : {"/cpu", "/cpu,cpuacct", "/cpuacct,cpu"}) {
    quota = Least(quota, LeastUpwards(absl::StrCat(mount, controller), *groups.v1, QuotaV1));
  }
  return quota;
}

int ThreadsFor(int affinity, std::optional<double> quota) {
  int threads = std::max(affinity, 1);
  if (quota && *quota < threads) threads = static_cast<int>(std::ceil(*quota));
  return std::max(threads, 1);
}

int AvailableThreads() { return ThreadsFor(Affinity(), CgroupCpuQuota("")); }

}  // namespace quantd
