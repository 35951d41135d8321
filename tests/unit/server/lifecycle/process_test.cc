#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/lifecycle/memory_limit.h"
#include "server/lifecycle/port_file.h"
#include "server/lifecycle/signals.h"
#include "server/lifecycle/ticker.h"

namespace quantd {
namespace {

namespace fs = std::filesystem;

class TempDir {
 public:
  TempDir() {
    std::string pattern = (fs::temp_directory_path() / "quantd-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() { fs::remove_all(path_); }
  std::string path() const { return path_; }
  void Put(const std::string& name, const std::string& content) const {
    const fs::path file = fs::path(path_ + name);
    fs::create_directories(file.parent_path());
    std::ofstream(file) << content;
  }

 private:
  std::string path_;
};

TEST(MemoryLimitTest, TheSmallestLimitOnTheWayUpWins) {
  TempDir root;
  root.Put("/proc/meminfo", "MemTotal:       8192 kB\nMemFree: 1 kB\n");
  EXPECT_EQ(MemoryLimitBytes(root.path()), 8192u * 1024);
  root.Put("/proc/self/cgroup", "0::/kubepods/pod1/main\n");
  root.Put("/sys/fs/cgroup/kubepods/pod1/main/memory.max", "max\n");
  EXPECT_EQ(MemoryLimitBytes(root.path()), 8192u * 1024);
  root.Put("/sys/fs/cgroup/kubepods/pod1/memory.max", "4194304\n");
  EXPECT_EQ(MemoryLimitBytes(root.path()), 4194304u);
  root.Put("/sys/fs/cgroup/kubepods/pod1/main/memory.max", "2097152\n");
  EXPECT_EQ(MemoryLimitBytes(root.path()), 2097152u);
}

TEST(MemoryLimitTest, ReadsVersionOneAndARootGroup) {
  TempDir root;
  root.Put("/proc/meminfo", "MemTotal:       8192 kB\n");
  root.Put("/proc/self/cgroup", "5:cpu:/a\n4:memory:/docker/x\n");
  root.Put("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "1048576\n");
  EXPECT_EQ(MemoryLimitBytes(root.path()), 1048576u);
  root.Put("/proc/self/cgroup", "0::/\n");
  root.Put("/sys/fs/cgroup/memory.max", "3145728\n");
  EXPECT_EQ(MemoryLimitBytes(root.path()), 3145728u);
}

TEST(MemoryLimitTest, UnknownIsZeroAndTheRealOneIsNot) {
  TempDir empty;
  EXPECT_EQ(MemoryLimitBytes(empty.path()), 0u);
  EXPECT_GT(MemoryLimitBytes(), 0u);
}

TEST(PortFileTest, ReplacesTheWholeFileAndLeavesNothingBeside) {
  TempDir dir;
  const std::string path = dir.path() + "/ports";
  ASSERT_TRUE(WriteFileAtomically(path, "first, and longer\n").ok());
  ASSERT_TRUE(WriteFileAtomically(path, "second\n").ok());
  std::stringstream content;
  content << std::ifstream(path).rdbuf();
  EXPECT_EQ(content.str(), "second\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()), 1);
}

TEST(PortFileTest, AMissingFolderIsNamed) {
  const absl::Status status = WriteFileAtomically("/nonexistent/ports", "x");
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/nonexistent/ports"));
}

TEST(TickerTest, TicksUntilDestroyed) {
  std::atomic<int> ticks{0};
  absl::Notification three;
  {
    Ticker ticker(absl::Milliseconds(1), [&] {
      if (++ticks == 3) three.Notify();
    });
    three.WaitForNotification();
  }
  const int after = ticks;
  EXPECT_GE(after, 3);
}

TEST(TickerTest, DoesNotWaitOutALongPeriodToStop) {
  const absl::Time begin = absl::Now();
  {
    Ticker ticker(absl::Hours(1), [] {});
  }
  EXPECT_LT(absl::Now() - begin, absl::Minutes(1));
}

TEST(SignalsTest, ABlockedSignalIsReceivedByTheWaiter) {
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  BlockShutdownSignals();
  ProcessSignals signals;
  EXPECT_EQ(signals.Wait(absl::ZeroDuration()), 0);
  kill(getpid(), SIGTERM);
  EXPECT_EQ(signals.Wait(absl::Seconds(10)), SIGTERM);
  kill(getpid(), SIGINT);
  EXPECT_EQ(signals.Wait(absl::InfiniteDuration()), SIGINT);
  // A thread that does not block the signal, as one made before main would be.
  std::thread open_thread([&] {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_kill(pthread_self(), SIGTERM);
  });
  open_thread.join();
  EXPECT_EQ(signals.Wait(absl::Seconds(10)), SIGTERM);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace quantd
