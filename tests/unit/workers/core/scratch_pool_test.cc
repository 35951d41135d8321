#include "workers/core/scratch_pool.h"

#include <gtest/gtest.h>

namespace quantd {
namespace {

TEST(ScratchPoolTest, HandsOutAgainWhatCameBackAndNeverTheSameTwice) {
  ScratchPool<int> pool;
  std::unique_ptr<int> first = pool.Take(), second = pool.Take();
  EXPECT_NE(first.get(), second.get());
  *first = 7;
  const int* address = first.get();
  pool.Give(std::move(first));
  first = pool.Take();
  EXPECT_EQ(first.get(), address);
  EXPECT_EQ(*first, 7);
}

TEST(ScratchPoolTest, ClearFreesWhatIsNotInUse) {
  ScratchPool<int> pool;
  std::unique_ptr<int> kept = pool.Take(), given = pool.Take();
  *kept = 1, *given = 2;
  pool.Give(std::move(given));
  pool.Clear();
  EXPECT_EQ(*pool.Take(), 0);
  EXPECT_EQ(*kept, 1);
}

}  // namespace
}  // namespace quantd
