#include "gtest/gtest.h"
#include "workers/methods/method.h"

namespace quantd {
namespace {

TEST(MethodListTest, EveryMethodDescribesItselfAndAcceptsItsOwnDefaults) {
  ASSERT_FALSE(AllMethods().empty());
  for (const Method* m : AllMethods()) {
    EXPECT_FALSE(m->title().empty()) << m->name();
    EXPECT_FALSE(m->paper().empty()) << m->name();
    EXPECT_FALSE(m->needs().empty()) << m->name();
    EXPECT_FALSE(m->when_not_to_use().empty()) << m->name();
    EXPECT_EQ(m->Defaults().method, m->name());
    EXPECT_TRUE(m->Check(m->Defaults()).ok()) << m->Check(m->Defaults());
    EXPECT_EQ(*FindMethod(m->name()), m);
  }
}

TEST(MethodListTest, StripesAreWholeWordsForEveryShape) {
  for (const Method* m : AllMethods()) {
    for (const int64_t rows : {1, 31, 384, 4096, 28672}) {
      for (const int64_t columns : {1, 64, 1536, 28672, 1 << 20}) {
        for (const bool with_hessian : {false, true}) {
          const int64_t stripe = m->StripeRows(rows, columns, with_hessian);
          EXPECT_GE(stripe, 32);
          EXPECT_LE(stripe, 256);
          EXPECT_EQ(stripe % 32, 0) << m->name() << " " << rows << " x " << columns;
        }
      }
    }
  }
}

TEST(MethodListTest, AnUnknownNameListsTheKnownOnes) {
  const absl::Status s = FindMethod("awq").status();
  EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(s.message()).find("rtn, gptq"), std::string::npos);
}

TEST(MethodListTest, ASpecOfAnotherSolverIsRefused) {
  for (const Method* m : AllMethods()) {
    Spec spec = m->Defaults();
    spec.solve.solver = spec.solve.solver == Solver::kRtn ? Solver::kGptq : Solver::kRtn;
    EXPECT_FALSE(m->Check(spec).ok()) << m->name();
  }
}

}  // namespace
}  // namespace quantd
