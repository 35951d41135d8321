#include "workers/compose/group_solver.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "gtest/gtest.h"
#include "tests/reference/shuffled_executor.h"
#include "tests/reference/synthetic.h"
#include "workers/compose/solve_scratch.h"
#include "workers/levels/decode.h"
#include "workers/linalg/blas.h"
#include "workers/methods/method.h"

namespace quantd {
namespace {

constexpr int64_t kM = 64;
constexpr int64_t kN = 64;
constexpr int64_t kTokens = 256;

class GroupSolverTest : public ::testing::Test {
 protected:
  GroupSolverTest()
      : w_(reference::HeavyTailedWeight(kM, kN, 5)),
        h_(reference::SecondMoment(reference::CorrelatedActivations(kTokens, kN, 6), kTokens, kN)) {
    EXPECT_TRUE(InitBlas().ok());
    inputs_.n = kN;
    inputs_.weights.push_back({View(), {}, {}});
    RenewHessian();
  }

  // Preparing a group uses H up.
  void RenewHessian() {
    Buffer square = *Buffer::Allocate(kN * kN * 4);
    std::transform(h_.begin(), h_.end(), square.As<float>().begin(),
                   [](double v) { return static_cast<float>(v); });
    hessian_ = std::make_unique<Hessian>(
        *Hessian::Create(std::move(square), kN, Hessian::Given::kFull, "h", executor_, cancel_));
    inputs_.hessian = hessian_.get();
  }

  WeightView View() const {
    return {DType::kF32, reinterpret_cast<const std::byte*>(w_.data()), kM, kN};
  }

  static Spec DefaultsOf(const char* method) { return (*FindMethod(method))->defaults(); }

  // Solves the whole weight as one stripe.
  Coded Solved(const GroupSolver& group, const Spec& spec, std::unique_ptr<WeightSolver>* solver) {
    *solver = *group.BeginWeight(spec, 0, kM, executor_, cancel_);
    Coded coded;
    coded.Reshape((*solver)->spec(), 0, kM, kM, kN, &(*solver)->shared());
    facts_ = (*solver)->SolveRows(w_.data(), &coded, &scratch_, executor_, cancel_);
    return coded;
  }

  double Quadratic(const std::vector<double>& a) const {
    double sum = 0;
    for (int64_t r = 0; r < kM; ++r) {
      for (int64_t i = 0; i < kN; ++i) {
        for (int64_t j = 0; j < kN; ++j) sum += a[r * kN + i] * h_[i * kN + j] * a[r * kN + j];
      }
    }
    return sum;
  }

  std::vector<float> w_;
  std::vector<double> h_;
  InlineExecutor executor_;
  CancelToken cancel_;
  std::unique_ptr<Hessian> hessian_;
  GroupInputs inputs_;
  SolveScratch scratch_;
  RowFacts facts_;
};

TEST_F(GroupSolverTest, EnergiesAreThoseOfTheUploadedBasisWhateverTheTransform) {
  const std::vector<double> w(w_.begin(), w_.end());
  const double expected = Quadratic(w);
  for (const char* method : {"rtn", "gptq", "quarot", "awq"}) {
    RenewHessian();
    Spec spec = DefaultsOf(method);
    spec.partition.group_size = 32;
    const auto group = GroupSolver::Prepare(spec, &inputs_, executor_, cancel_);
    ASSERT_TRUE(group.ok()) << group.status();
    ASSERT_TRUE((*group)->has_energy());
    EXPECT_NEAR((*group)->Energy(w_.data(), kM, &scratch_, cancel_) / expected, 1.0, 1e-4)
        << method;
  }
}

TEST_F(GroupSolverTest, TheSweepsOwnLossIsTheErrorsEnergy) {
  Spec spec = DefaultsOf("gptq");
  spec.partition.group_size = 32;
  const auto group = GroupSolver::Prepare(spec, &inputs_, executor_, cancel_);
  ASSERT_TRUE(group.ok()) << group.status();
  std::unique_ptr<WeightSolver> solver;
  const Coded coded = Solved(**group, spec, &solver);
  ASSERT_TRUE(facts_.loss.has_value());
  std::vector<float> error(kM * kN);
  Decode(coded, error.data());
  for (int64_t i = 0; i < kM * kN; ++i) error[i] = w_[i] - error[i];
  const double through_loss = (*group)->ErrorEnergy(facts_, error.data(), kM, &scratch_, cancel_);
  facts_.loss.reset();
  const double through_h = (*group)->ErrorEnergy(facts_, error.data(), kM, &scratch_, cancel_);
  EXPECT_NEAR(through_loss / through_h, 1.0, 1e-3);
}

TEST_F(GroupSolverTest, DriftIsWhatTheDefinitionSays) {
  // C = H + dC with a dC of no symmetry.
  std::vector<double> cross = h_;
  for (int64_t i = 0; i < kN; ++i) cross[i * kN + (i + 1) % kN] += 0.125 * (1 + i % 3);
  Buffer buffer = *Buffer::Allocate(kN * kN * 4);
  std::transform(cross.begin(), cross.end(), buffer.As<float>().begin(),
                 [](double v) { return static_cast<float>(v); });
  inputs_.cross_moment = &buffer;
  Spec spec = DefaultsOf("qep");
  spec.partition.group_size = 32;
  const auto group = GroupSolver::Prepare(spec, &inputs_, executor_, cancel_);
  ASSERT_TRUE(group.ok()) << group.status();
  ASSERT_TRUE((*group)->has_drift());
  std::vector<float> decoded = w_;
  for (size_t i = 0; i < decoded.size(); ++i) decoded[i] += 0.01f * static_cast<float>(i % 7);
  const auto objective = [&](const std::vector<float>& q) {
    double sum = 0;
    for (int64_t r = 0; r < kM; ++r) {
      for (int64_t i = 0; i < kN; ++i) {
        for (int64_t j = 0; j < kN; ++j) {
          const double wi = w_[r * kN + i], qi = q[r * kN + i], qj = q[r * kN + j];
          sum += qi * h_[i * kN + j] * qj - 2 * wi * cross[i * kN + j] * qj;
        }
      }
    }
    return sum;
  };
  const double expected = objective(decoded) - objective(w_);
  std::vector<float> error(decoded.size());
  for (size_t i = 0; i < error.size(); ++i) error[i] = w_[i] - decoded[i];
  const double drift = (*group)->Drift(w_.data(), error.data(), kM, &scratch_, cancel_);
  EXPECT_NEAR(drift, expected, 0.01 * std::abs(expected));
}

TEST_F(GroupSolverTest, AnHThatCannotBeFactoredFallsBackToDescentOrIsRefused) {
  std::vector<float> bad(kN * kN, 0.0f);  // diagonal 1, neighbours 2: far from definite
  for (int64_t i = 0; i < kN; ++i) {
    bad[i * kN + i] = 1;
    if (i + 1 < kN) bad[i * kN + i + 1] = bad[(i + 1) * kN + i] = 2;
  }
  const auto prepare = [&](const Spec& spec) {
    Buffer square = *Buffer::Allocate(kN * kN * 4);
    std::memcpy(square.data(), bad.data(), kN * kN * 4);
    hessian_ = std::make_unique<Hessian>(
        *Hessian::Create(std::move(square), kN, Hessian::Given::kUpper, "h", executor_, cancel_));
    inputs_.hessian = hessian_.get();
    return GroupSolver::Prepare(spec, &inputs_, executor_, cancel_);
  };
  Spec spec = DefaultsOf("gptq");
  spec.partition.group_size = 32;
  const auto group = prepare(spec);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ((*group)->degraded().cause, OutcomeCause::kNoFactor);
  EXPECT_TRUE((*group)->facts()->used_descent);
  std::unique_ptr<WeightSolver> solver;
  Solved(**group, spec, &solver);
  spec.solve.fallback_descent_passes = 0;
  EXPECT_EQ(prepare(spec).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(GroupSolverTest, OneTableOrScaleForAWholeWeightDoesNotDependOnThreads) {
  Spec spec = DefaultsOf("kmeans");
  spec.partition.granularity = Granularity::kTensor;
  const auto group = GroupSolver::Prepare(spec, &inputs_, executor_, cancel_);
  ASSERT_TRUE(group.ok()) << group.status();
  reference::ShuffledExecutor shuffled(4);
  const auto one = (*group)->BeginWeight(spec, 0, 32, executor_, cancel_);
  const auto many = (*group)->BeginWeight(spec, 0, 32, shuffled, cancel_);
  ASSERT_TRUE(one.ok() && many.ok());
  EXPECT_EQ((*one)->shared().table.size(), 16u);
  EXPECT_EQ((*one)->shared(), (*many)->shared());
}

TEST_F(GroupSolverTest, KeptColumnsEndTheSweepAndAreExact) {
  Spec spec = DefaultsOf("owq");
  spec.partition.group_size = 32;
  spec.exceptions.kept_columns = 0.1;
  const auto group = GroupSolver::Prepare(spec, &inputs_, executor_, cancel_);
  ASSERT_TRUE(group.ok()) << group.status();
  std::unique_ptr<WeightSolver> solver;
  const Coded coded = Solved(**group, spec, &solver);
  ASSERT_EQ(solver->shared().kept_columns.size(), 6u);
  EXPECT_EQ(coded.kept.size(), static_cast<size_t>(6 * kM));
}

TEST_F(GroupSolverTest, EndsWithTheToken) {
  cancel_.Cancel();
  EXPECT_FALSE(GroupSolver::Prepare(DefaultsOf("gptq"), &inputs_, executor_, cancel_).ok());
}

}  // namespace
}  // namespace quantd
