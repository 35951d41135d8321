#include "workers/core/cancel.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace quantd {
namespace {

TEST(CancelTokenTest, StartsOpen) {
  const CancelToken token;
  EXPECT_FALSE(token.cancelled());
  EXPECT_TRUE(token.Check().ok());
}

TEST(CancelTokenTest, TheFirstReasonWins) {
  CancelToken token;
  token.Cancel(absl::StatusCode::kDeadlineExceeded);
  token.Cancel();
  EXPECT_TRUE(token.cancelled());
  EXPECT_EQ(token.Check().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(CancelTokenTest, DefaultsToCancelled) {
  CancelToken token;
  token.Cancel();
  EXPECT_EQ(token.Check().code(), absl::StatusCode::kCancelled);
}

TEST(CancelTokenTest, OneOfManyThreadsSetsTheReason) {
  CancelToken token;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&token, i] {
      token.Cancel(i % 2 == 0 ? absl::StatusCode::kCancelled : absl::StatusCode::kUnavailable);
    });
  }
  for (std::thread& t : threads) t.join();
  const absl::StatusCode code = token.Check().code();
  EXPECT_TRUE(code == absl::StatusCode::kCancelled || code == absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace quantd
