#include "workers/linalg/dot.h"

#include <gtest/gtest.h>

#include <vector>

namespace quantd {
namespace {

TEST(DotInDoubleTest, SumsEveryProductOfAnyLength) {
  for (int64_t count = 0; count < 40; ++count) {
    std::vector<float> a(count), b(count);
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      a[i] = static_cast<float>(i - 7);
      b[i] = static_cast<float>(3 * i + 1);
      sum += static_cast<double>(a[i]) * b[i];
    }
    EXPECT_EQ(DotInDouble(a.data(), b.data(), count), sum) << count;
  }
}

TEST(DotInDoubleTest, KeepsWhatF32WouldLose) {
  const std::vector<float> a = {1e8f, 1.0f, -1e8f}, b = {1.0f, 1.0f, 1.0f};
  EXPECT_EQ(DotInDouble(a.data(), b.data(), 3), 1.0);
}

}  // namespace
}  // namespace quantd
