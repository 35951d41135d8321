#include "client/lib/stop.h"

#include <gtest/gtest.h>

namespace quantd::client {
namespace {

TEST(StopSourceTest, CallsEachRegisteredFunctionOnce) {
  StopSource stop;
  int calls = 0;
  StopRegistration kept(&stop, [&] { ++calls; });
  {
    StopRegistration gone(&stop, [&] { calls += 100; });
  }
  stop.Stop();
  stop.Stop();
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(stop.stopped());
}

TEST(StopSourceTest, RegisteringLateCallsAtOnce) {
  StopSource stop;
  stop.Stop();
  bool called = false;
  StopRegistration late(&stop, [&] { called = true; });
  EXPECT_TRUE(called);
}

TEST(StopSourceTest, WaitTellsTimeoutFromStop) {
  StopSource stop;
  EXPECT_FALSE(stop.WaitFor(absl::ZeroDuration()));
  stop.Stop();
  EXPECT_TRUE(stop.WaitFor(absl::Hours(1)));
}

}  // namespace
}  // namespace quantd::client
