#include "client/files/work_area.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/client/files/model_folder.h"

namespace quantd {
namespace {

using ::quantd::testing::FileExists;
using ::quantd::testing::PatternBytes;
using ::quantd::testing::ReadText;
using ::quantd::testing::TempFolder;
using ::quantd::testing::WriteText;

std::string TextOf(const StoredState& state) {
  return std::string(reinterpret_cast<const char*>(state.bytes.data()), state.bytes.size());
}

class WorkAreaStateTest : public ::testing::Test {
 protected:
  absl::StatusCode CodeOf(std::vector<int> modules) const {
    return work_.OpenState(modules).status().code();
  }

  TempFolder folder_;
  WorkArea work_{folder_.path()};
  const std::string path_ = folder_ / "quantd-work/00007.state";
};

TEST_F(WorkAreaStateTest, TheNewestStateIsRead) {
  EXPECT_EQ(CodeOf({7}), absl::StatusCode::kNotFound);
  for (uint64_t bytes : {1, 100'000, 33}) {
    const std::string state = PatternBytes(bytes, bytes);
    ASSERT_TRUE(work_.PutState({7, 9}, state).ok());
    const auto stored = work_.OpenState({7, 9});
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_EQ(TextOf(*stored), state);
    EXPECT_EQ(stored->digest, DigestOf(quantd::testing::AsBytes(state)));
  }
  EXPECT_TRUE(FileExists(path_));
  EXPECT_FALSE(FileExists(path_ + ".partial"));
}

TEST_F(WorkAreaStateTest, AnOpenStateStaysAsItIsWhenANewerOneComes) {
  ASSERT_TRUE(work_.PutState({7}, "the first").ok());
  const auto stored = work_.OpenState({7});
  ASSERT_TRUE(work_.PutState({7}, "the second").ok());
  EXPECT_EQ(TextOf(*stored), "the first");
  ASSERT_TRUE(work_.RemoveState(7).ok());
  EXPECT_EQ(TextOf(*stored), "the first");
}

TEST_F(WorkAreaStateTest, AStateOfOtherModulesIsNotTaken) {
  ASSERT_TRUE(work_.PutState({7, 8, 9}, "state").ok());
  EXPECT_EQ(CodeOf({7}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf({7, 9}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf({7, 8, 10}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf({8, 9}), absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf({7, 8, 9}), absl::StatusCode::kOk);
}

TEST_F(WorkAreaStateTest, DamageAnywhereIsFound) {
  ASSERT_TRUE(work_.PutState({7}, PatternBytes(64, 1)).ok());
  const std::string good = ReadText(path_);
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    WriteText(path_, bad);
    const auto stored = work_.OpenState({7});
    // What is neither digest, modules nor state may differ (padding, metadata).
    if (stored.ok()) {
      EXPECT_EQ(TextOf(*stored), PatternBytes(64, 1)) << i;
    }
  }
  for (size_t i = 0; i < good.size(); ++i) {
    WriteText(path_, good.substr(0, i));
    EXPECT_EQ(CodeOf({7}), absl::StatusCode::kInvalidArgument) << i;
  }
}

TEST_F(WorkAreaStateTest, StatesAreNotCountedAsStoredTensors) {
  ASSERT_TRUE(work_.PutState({7}, PatternBytes(5000, 1)).ok());
  EXPECT_EQ(work_.StoredBytes(), 0u);
  const std::string bytes = PatternBytes(40, 2);
  const PackedView view{{".x", DType::kU8, {40}}, quantd::testing::AsBytes(bytes)};
  ASSERT_TRUE(work_.Put(7, {view}).ok());
  EXPECT_GT(work_.StoredBytes(), 40u);
  EXPECT_LT(work_.StoredBytes(), 1000u);
}

TEST_F(WorkAreaStateTest, RemovingTakesTheStateAlone) {
  EXPECT_TRUE(work_.RemoveState(7).ok());
  const std::string bytes = PatternBytes(40, 2);
  const PackedView view{{".x", DType::kU8, {40}}, quantd::testing::AsBytes(bytes)};
  ASSERT_TRUE(work_.Put(7, {view}).ok());
  ASSERT_TRUE(work_.PutState({7}, "state").ok());
  ASSERT_TRUE(work_.RemoveState(7).ok());
  EXPECT_EQ(CodeOf({7}), absl::StatusCode::kNotFound);
  EXPECT_TRUE(work_.Open(7).ok());
  ASSERT_TRUE(work_.PutState({7}, "state").ok());
  ASSERT_TRUE(work_.Remove().ok());
  EXPECT_FALSE(FileExists(path_));
}

}  // namespace
}  // namespace quantd
