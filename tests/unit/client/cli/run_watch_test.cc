#include "client/cli/run_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <thread>

#include "client/cli/exit_codes.h"
#include "client/cli/quantize.h"
#include "tests/unit/client/files/model_folder.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;

class RunWatchTest : public ::testing::Test {
 protected:
  RunWatchTest() {
    env_.out = &out_;
    env_.err = &err_;
    env_.stop = &stop_;
    flags_.model_dir = "some/where/llama/";
  }
  std::ostringstream out_, err_;
  client::StopSource stop_;
  Environment env_;
  QuantizeFlags flags_;
};

TEST_F(RunWatchTest, WithoutAnAddressThereIsADisplayAndNothingElse) {
  RunWatch watch(flags_, absl::UnixEpoch(), &env_);
  ASSERT_TRUE(watch.Listen().ok());
  watch.Begin({1, {10, 1}, 1, 20});
  watch.Tell(&client::RunListener::Done, 1, client::JobSize{10, 1});
  EXPECT_THAT(watch.display()->Line(), HasSubstr("1/1 tensors"));
  flags_.metrics_linger_seconds = 86'400;
  watch.Linger();  // for nobody
  EXPECT_EQ(err_.str().find("metrics"), std::string::npos);
}

TEST_F(RunWatchTest, SaysWhereTheMetricsAre) {
  flags_.metrics_listen = "127.0.0.1:0";
  RunWatch watch(flags_, absl::UnixEpoch(), &env_);
  ASSERT_TRUE(watch.Listen().ok());
  EXPECT_THAT(err_.str(),
              ::testing::MatchesRegex("metrics on http://127.0.0.1:[1-9][0-9]*/metrics\n"));
}

TEST_F(RunWatchTest, AStopEndsTheLinger) {
  flags_.metrics_listen = "127.0.0.1:0";
  flags_.metrics_linger_seconds = 86'400;
  RunWatch watch(flags_, absl::UnixEpoch(), &env_);
  ASSERT_TRUE(watch.Listen().ok());
  watch.Linger();  // not for a run that never began
  watch.Begin({1, {10, 1}, 1, 20});
  std::thread stopping([this] { stop_.Stop(); });
  watch.Linger();
  stopping.join();
}

TEST_F(RunWatchTest, AnAddressThatCannotBeHadEndsTheRunBeforeAnyWork) {
  quantd::testing::TempFolder folder;
  flags_.model_dir = folder / "nosuch";
  flags_.out_dir = folder / "out";
  flags_.metrics_listen = "here";
  EXPECT_EQ(RunQuantize(flags_, &env_), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("error: --metrics-listen: \"here\" is not HOST:PORT"));
  EXPECT_FALSE(std::filesystem::exists(flags_.out_dir));
}

}  // namespace
}  // namespace quantd::cli
