#include "client/lib/retry.h"

#include <gtest/gtest.h>

namespace quantd::client {
namespace {

AttemptFailure Failed(absl::StatusCode code) {
  return {absl::Status(code, "x"), std::nullopt, false};
}
AttemptFailure Pushed(absl::StatusCode code, absl::Duration pushback) {
  return {absl::Status(code, "x"), pushback, false};
}

class RetryTest : public ::testing::Test {
 protected:
  RetryState Make(RetryPolicy policy = {}) {
    return RetryState(policy, [this] { return uniform_; });
  }
  double uniform_ = 0.5;  // no jitter
};

TEST_F(RetryTest, DelaysDoubleUpToTheLongest) {
  RetryPolicy policy;
  policy.first_delay = absl::Seconds(1);
  policy.longest_delay = absl::Seconds(5);
  RetryState retry = Make(policy);
  for (double expected : {1.0, 2.0, 4.0, 5.0, 5.0}) {
    EXPECT_EQ(retry.Next(Failed(absl::StatusCode::kUnavailable)), absl::Seconds(expected));
  }
}

TEST_F(RetryTest, JitterStaysInsideItsBand) {
  RetryPolicy policy;
  policy.first_delay = absl::Seconds(10);
  policy.jitter = 0.2;
  uniform_ = 0.0;
  EXPECT_EQ(Make(policy).Next(Failed(absl::StatusCode::kUnavailable)), absl::Seconds(8));
  uniform_ = 1.0;
  EXPECT_EQ(Make(policy).Next(Failed(absl::StatusCode::kUnavailable)), absl::Seconds(12));
}

TEST_F(RetryTest, AttemptsAreCountedAndEnd) {
  RetryPolicy policy;
  policy.max_attempts = 3;
  RetryState retry = Make(policy);
  EXPECT_TRUE(retry.Next(Failed(absl::StatusCode::kUnavailable)));
  EXPECT_TRUE(retry.Next(Failed(absl::StatusCode::kCancelled)));
  EXPECT_FALSE(retry.Next(Failed(absl::StatusCode::kUnavailable)));
  EXPECT_EQ(retry.attempts(), 3);
}

TEST_F(RetryTest, AnAttemptThatAdvancedStartsTheCountAnew) {
  RetryPolicy policy;
  policy.max_attempts = 3;
  policy.jitter = 0;
  RetryState retry = Make(policy);
  AttemptFailure advanced = Failed(absl::StatusCode::kUnavailable);
  advanced.advanced = true;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(retry.Next(advanced), policy.first_delay);
    EXPECT_EQ(retry.Next(Failed(absl::StatusCode::kUnavailable)), 2 * policy.first_delay);
  }
  EXPECT_FALSE(retry.Next(Failed(absl::StatusCode::kUnavailable)));
  EXPECT_EQ(retry.attempts(), 41);
  advanced.status = absl::DeadlineExceededError("x");
  EXPECT_TRUE(retry.Next(advanced));
  advanced.status = absl::InvalidArgumentError("x");
  EXPECT_FALSE(retry.Next(advanced));
}

TEST_F(RetryTest, WhoeverIsSentElsewhereTwiceWaits) {
  RetryPolicy policy;
  policy.max_attempts = 3;
  RetryState retry = Make(policy);
  const AttemptFailure elsewhere = Pushed(absl::StatusCode::kUnavailable, absl::ZeroDuration());
  EXPECT_EQ(retry.Next(elsewhere), absl::ZeroDuration());
  EXPECT_EQ(retry.Next(elsewhere), absl::Seconds(1));
  EXPECT_EQ(retry.Next(Pushed(absl::StatusCode::kResourceExhausted, absl::Seconds(3))),
            absl::Seconds(3));
  EXPECT_EQ(retry.Next(elsewhere), absl::ZeroDuration());
  EXPECT_EQ(retry.Next(elsewhere), absl::Seconds(2));
  EXPECT_EQ(retry.Next(elsewhere), std::nullopt);
}

TEST_F(RetryTest, WhoAdvancedMayBeSentElsewhereAnew) {
  RetryState retry = Make();
  AttemptFailure elsewhere = Pushed(absl::StatusCode::kUnavailable, absl::ZeroDuration());
  EXPECT_EQ(retry.Next(elsewhere), absl::ZeroDuration());
  elsewhere.advanced = true;
  EXPECT_EQ(retry.Next(elsewhere), absl::ZeroDuration());
}

TEST_F(RetryTest, WrongRequestsAreNeverRepeated) {
  for (absl::StatusCode code :
       {absl::StatusCode::kInvalidArgument, absl::StatusCode::kOutOfRange,
        absl::StatusCode::kFailedPrecondition, absl::StatusCode::kUnimplemented,
        absl::StatusCode::kInternal, absl::StatusCode::kDeadlineExceeded,
        absl::StatusCode::kUnauthenticated, absl::StatusCode::kNotFound}) {
    EXPECT_FALSE(Make().Next(Failed(code))) << absl::StatusCodeToString(code);
  }
}

TEST_F(RetryTest, PushbackIsHonouredExactly) {
  uniform_ = 0.9;
  RetryState retry = Make();
  EXPECT_EQ(retry.Next(Pushed(absl::StatusCode::kResourceExhausted, absl::Milliseconds(1234))),
            absl::Milliseconds(1234));
  EXPECT_EQ(retry.Next(Pushed(absl::StatusCode::kUnavailable, absl::ZeroDuration())),
            absl::ZeroDuration());
}

TEST_F(RetryTest, NegativePushbackIsFinalForEveryCode) {
  EXPECT_FALSE(Make().Next(Pushed(absl::StatusCode::kResourceExhausted, absl::Milliseconds(-1))));
  EXPECT_FALSE(Make().Next(Pushed(absl::StatusCode::kUnavailable, absl::Milliseconds(-1))));
}

TEST_F(RetryTest, ExhaustedWithoutPushbackIsFinal) {
  EXPECT_FALSE(Make().Next(Failed(absl::StatusCode::kResourceExhausted)));
}

TEST_F(RetryTest, PushbacksAreNeitherAttemptsNorTimeSpentWaiting) {
  RetryPolicy policy;
  policy.max_attempts = 2;
  policy.give_up_after = absl::Minutes(1);
  RetryState retry = Make(policy);
  const AttemptFailure full = Pushed(absl::StatusCode::kResourceExhausted, absl::Seconds(10));
  for (int i = 0; i < 100; ++i) ASSERT_EQ(retry.Next(full), absl::Seconds(10)) << i;
  EXPECT_TRUE(retry.Next(Failed(absl::StatusCode::kUnavailable)));
}

TEST_F(RetryTest, WaitingEndsWhenTheSumOfDelaysIsSpent) {
  RetryPolicy policy;
  policy.max_attempts = 100;
  policy.first_delay = absl::Seconds(10);
  policy.longest_delay = absl::Seconds(10);
  policy.give_up_after = absl::Seconds(30);
  RetryState retry = Make(policy);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(retry.Next(Failed(absl::StatusCode::kUnavailable))) << i;
  EXPECT_FALSE(retry.Next(Failed(absl::StatusCode::kUnavailable)));
}

TEST_F(RetryTest, LostDataIsTriedOnceMore) {
  RetryState retry = Make();
  EXPECT_TRUE(retry.Next(Failed(absl::StatusCode::kDataLoss)));
  EXPECT_TRUE(retry.Next(Failed(absl::StatusCode::kUnavailable)));
  EXPECT_FALSE(retry.Next(Failed(absl::StatusCode::kDataLoss)));
}

}  // namespace
}  // namespace quantd::client
