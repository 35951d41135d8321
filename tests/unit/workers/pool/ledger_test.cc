#include "workers/pool/ledger.h"

#include <cstdint>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace quantd {
namespace {

TEST(ByteLedger, GivesUntilTheBudgetIsSpentAndTakesBack) {
  ByteLedger ledger(100);
  ByteLedger::Reservation a = ledger.TryReserve(60);
  ASSERT_TRUE(a.held());
  EXPECT_FALSE(ledger.TryReserve(41).held());
  ByteLedger::Reservation b = ledger.TryReserve(40);
  EXPECT_TRUE(b.held());
  EXPECT_EQ(ledger.reserved(), 100u);
  a.Release();
  EXPECT_FALSE(a.held());
  EXPECT_EQ(a.bytes(), 0u);
  EXPECT_EQ(ledger.reserved(), 40u);
  a.Release();
  EXPECT_EQ(ledger.reserved(), 40u);
}

TEST(ByteLedger, MovesKeepOneHolder) {
  ByteLedger ledger(100);
  {
    ByteLedger::Reservation a = ledger.TryReserve(30);
    ByteLedger::Reservation b = std::move(a);
    EXPECT_TRUE(b.held());
    ByteLedger::Reservation c = ledger.TryReserve(50);
    c = std::move(b);
    EXPECT_EQ(ledger.reserved(), 30u);
  }
  EXPECT_EQ(ledger.reserved(), 0u);
}

TEST(ByteLedger, HugeRequestsDoNotWrapAround) {
  ByteLedger ledger(100);
  const ByteLedger::Reservation a = ledger.TryReserve(1);
  EXPECT_FALSE(ledger.TryReserve(std::numeric_limits<uint64_t>::max()).held());
  EXPECT_EQ(ledger.reserved(), 1u);
}

TEST(ByteLedger, ThreadsNeverPassTheBudget) {
  ByteLedger ledger(10);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&ledger] {
      for (int i = 0; i < 2000; ++i) {
        const ByteLedger::Reservation r = ledger.TryReserve(3);
        EXPECT_LE(ledger.reserved(), 10u);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(ledger.reserved(), 0u);
}

}  // namespace
}  // namespace quantd
