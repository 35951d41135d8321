#include "workers/compose/plan.h"

#include "gtest/gtest.h"
#include "workers/methods/method.h"

namespace quantd {
namespace {

constexpr int64_t kGranule = 32;

TEST(PlanTest, StripesAreWholeWordsAndWholeGroupsForEveryMethodAndShape) {
  for (const Method* method : AllMethods()) {
    for (const GroupAxis axis : {GroupAxis::kOut, GroupAxis::kIn}) {
      Spec spec = method->defaults();
      if (spec.partition.granularity == Granularity::kGroup) spec.partition.axis = axis;
      for (const int64_t m : {32, 384, 1536, 4096, 28672}) {
        for (const int64_t n : {64, 1536, 28672, 1 << 20}) {
          const Stripes s = PlanStripes(spec, m, n, kGranule, true);
          const int64_t group = spec.partition.GroupRows(m);
          EXPECT_EQ(s.measure_rows % kGranule, 0) << method->name;
          EXPECT_EQ(s.solve_rows % s.measure_rows, 0) << method->name;
          EXPECT_TRUE(group == m || s.measure_rows % group == 0) << method->name;
          EXPECT_LE(s.measure_rows, 1024) << method->name;
        }
      }
    }
  }
}

TEST(PlanTest, AColumnThatIsFittedInTheSweepIsSolvedWhole) {
  Spec spec = (*FindMethod("claq"))->defaults();
  const Stripes s = PlanStripes(spec, 1000, 512, kGranule, true);
  EXPECT_GE(s.solve_rows, 1000);
  EXPECT_LE(s.measure_rows, 256);
}

TEST(PlanTest, SecondLevelScalesStayInOneStripe) {
  Spec spec = (*FindMethod("spqr"))->defaults();
  spec.storage.super_group = 48;
  EXPECT_EQ(PlanStripes(spec, 4096, 512, kGranule, true).solve_rows % 48, 0);
}

TEST(PlanTest, PatchesStayInOneStripe) {
  Spec spec = (*FindMethod("aqlm"))->defaults();
  for (const int out_group : {1, 2, 3, 12, 64}) {
    spec.levels.out_group = out_group;
    const Stripes s = PlanStripes(spec, 4096, 512, kGranule, true);
    EXPECT_EQ(s.solve_rows % out_group, 0) << out_group;
    EXPECT_EQ(s.measure_rows, s.solve_rows) << out_group;
  }
}

TEST(PlanTest, AdditiveLevelsAreSolvedWholeAndLeaveStates) {
  Spec spec = (*FindMethod("aqlm"))->defaults();
  EXPECT_EQ(SharedBytes(spec), uint64_t{4} * 2 * 256 * 8);
  const uint64_t codes = uint64_t{2} * 4096 * 512 * 2;
  EXPECT_GT(StateBytes(spec, 4096, 4096), codes);
  EXPECT_LT(StateBytes(spec, 4096, 4096), codes + (uint64_t{1} << 20));
  EXPECT_GT(WholeSolveBytes(spec, 4096, 4096), 0u);
  EXPECT_GT(WeightBytes(spec, 4096, 4096, true), WeightBytes(spec, 4096, 4096, false));
  EXPECT_GT(WeightFlops(spec, 4096, 4096, true), WeightFlops(spec, 4096, 4096, false));
  const Spec rtn = (*FindMethod("rtn"))->defaults();
  EXPECT_EQ(StateBytes(rtn, 4096, 4096), 0u);
  EXPECT_EQ(WholeSolveBytes(rtn, 4096, 4096), 0u);
}

TEST(PlanTest, BlocksOfAnOutputRotationStayInOneStripe) {
  const Spec spec = (*FindMethod("quarot"))->defaults();
  EXPECT_EQ(PlanStripes(spec, 4096, 512, kGranule, true).solve_rows % 256, 0);
  EXPECT_EQ(PlanStripes(spec, 384, 512, kGranule, true).solve_rows % 128, 0);
}

TEST(PlanTest, WorkGrowsWithWhatASpecAsksFor) {
  Spec spec = (*FindMethod("gptq"))->defaults();
  const double plain = WeightFlops(spec, 1024, 1024, true);
  spec.solve.descent_passes = 2;
  EXPECT_GT(WeightFlops(spec, 1024, 1024, true), 2 * plain);
  EXPECT_EQ(GroupFlops((*FindMethod("rtn"))->defaults(), 1024), 0);
  EXPECT_GT(GroupFlops((*FindMethod("qep"))->defaults(), 1024), GroupFlops(spec, 1024));
  EXPECT_GE(GroupBytes((*FindMethod("qep"))->defaults(), 1024), uint64_t{4} << 20);
  EXPECT_EQ(GroupBytes((*FindMethod("rtn"))->defaults(), 1024), 0u);
}

}  // namespace
}  // namespace quantd
