#include "workers/pool/cpu_width.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "workers/pool/pool.h"

namespace quantd {
namespace {

class CpuWidth : public ::testing::Test {
 protected:
  CpuWidth() {
    std::string pattern = ::testing::TempDir() + "/cpu_width_XXXXXX";
    root_ = mkdtemp(pattern.data());
  }
  ~CpuWidth() override { std::filesystem::remove_all(root_); }

  void Put(const std::string& path, const std::string& text) {
    const std::filesystem::path full = root_ + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }

  std::string root_;
};

TEST_F(CpuWidth, NoFilesMeanNoQuota) { EXPECT_FALSE(CgroupCpuQuota(root_).has_value()); }

TEST_F(CpuWidth, ReadsV2InsideAContainersNamespace) {
  Put("/proc/self/cgroup", "0::/\n");
  Put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(CgroupCpuQuota(root_), 1.5);
}

TEST_F(CpuWidth, MaxIsNoQuota) {
  Put("/proc/self/cgroup", "0::/\n");
  Put("/sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_FALSE(CgroupCpuQuota(root_).has_value());
}

TEST_F(CpuWidth, TheTightestAncestorCounts) {
  Put("/proc/self/cgroup", "0::/pods/pod7/box\n");
  Put("/sys/fs/cgroup/pods/cpu.max", "800000 100000\n");
  Put("/sys/fs/cgroup/pods/pod7/cpu.max", "200000 100000\n");
  Put("/sys/fs/cgroup/pods/pod7/box/cpu.max", "max 100000\n");
  EXPECT_EQ(CgroupCpuQuota(root_), 2.0);
}

TEST_F(CpuWidth, AHostPathThatIsNotMountedFallsBackToTheMountsRoot) {
  Put("/proc/self/cgroup", "0::/../../elsewhere\n");
  Put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(CgroupCpuQuota(root_), 0.5);
}

TEST_F(CpuWidth, ReadsV1) {
  Put("/proc/self/cgroup", "12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n");
  Put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
  Put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupCpuQuota(root_), 2.5);
}

TEST_F(CpuWidth, V1WithoutAQuotaIsMinusOne) {
  Put("/proc/self/cgroup", "4:cpu:/\n0::/\n");
  Put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(CgroupCpuQuota(root_).has_value());
}

TEST_F(CpuWidth, NonsenseIsNoQuota) {
  Put("/proc/self/cgroup", "garbage\n0::/\n");
  for (const char* text : {"", "7\n", "a b\n", "0 100000\n", "100000 0\n", "-5 100000\n", "nan 1\n",
                           "inf 1\n", "1 2 3\n"}) {
    Put("/sys/fs/cgroup/cpu.max", text);
    EXPECT_FALSE(CgroupCpuQuota(root_).has_value()) << text;
  }
}

TEST(ThreadsFor, IsTheLesserRoundedUpAndAtLeastOne) {
  EXPECT_EQ(ThreadsFor(16, std::nullopt), 16);
  EXPECT_EQ(ThreadsFor(16, 1.5), 2);
  EXPECT_EQ(ThreadsFor(16, 2.0), 2);
  EXPECT_EQ(ThreadsFor(16, 0.01), 1);
  EXPECT_EQ(ThreadsFor(4, 1e30), 4);
  EXPECT_EQ(ThreadsFor(0, std::nullopt), 1);
}

TEST(AvailableThreads, IsPositive) { EXPECT_GE(AvailableThreads(), 1); }

}  // namespace
}  // namespace quantd
