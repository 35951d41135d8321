#include "workers/solve/additive.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/reference/shuffled_executor.h"
#include "workers/core/float16.h"
#include "workers/linalg/blas.h"
#include "workers/solve/beam_scratch.h"
#include "workers/solve/beam_search.h"
#include "workers/solve/codebook_update.h"

namespace quantd {
namespace {

// A layer with columns that go together: H = A A^T / T of smoothed noise, some columns louder.
struct Layer {
  int64_t m, n;
  std::vector<float> w;
  std::optional<Hessian> hessian;

  Layer(int64_t rows, int64_t columns, uint32_t seed) : m(rows), n(columns), w(rows * columns) {
    EXPECT_TRUE(InitBlas().ok());
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (float& v : w) v = normal(random);
    const int64_t tokens = 3 * n;
    std::vector<float> x(tokens * n);
    for (int64_t t = 0; t < tokens; ++t) {
      float last = 0;
      for (int64_t k = 0; k < n; ++k) {
        last = 0.9f * last + 0.45f * normal(random);
        x[t * n + k] = last * (k % 29 == 3 ? 6.0f : 1.0f);
      }
    }
    absl::StatusOr<Buffer> square = Buffer::Allocate(n * n * sizeof(float));
    EXPECT_TRUE(square.ok());
    Gemm(true, false, n, n, tokens, 1.0f / static_cast<float>(tokens), x.data(), n, x.data(), n,
         0.0f, square->As<float>().data(), n);
    absl::StatusOr<Hessian> h =
        Hessian::Create(*std::move(square), n, Hessian::Given::kUpper, "H", executor, cancel);
    EXPECT_TRUE(h.ok()) << h.status();
    hessian = *std::move(h);
  }

  WeightView view() const {
    return {DType::kF32, reinterpret_cast<const std::byte*>(w.data()), m, n};
  }
  Metric metric() { return Metric::Of(&*hessian, executor); }

  // sum over i of a_i H a_i^T in double.
  double Energy(const std::vector<float>& a) const {
    std::vector<float> h(n * n);
    hessian->CopyRows(0, n, h.data());
    double sum = 0;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t k = 0; k < n; ++k) {
        double dot = 0;
        for (int64_t l = 0; l < n; ++l) dot += static_cast<double>(h[k * n + l]) * a[i * n + l];
        sum += dot * a[i * n + k];
      }
    }
    return sum;
  }

  InlineExecutor executor;
  CancelToken cancel;
};

Spec AdditiveSpec() {
  Spec spec;
  spec.method = "aqlm";
  spec.levels.kind = LevelKind::kAdditive;
  spec.levels.codebooks = 2;
  spec.levels.codebook_bits = 4;
  spec.partition.granularity = Granularity::kRow;
  spec.fit.kind = FitKind::kResidualKMeans;
  spec.fit.iterations = 20;
  spec.fit.seed = 5;
  spec.solve.solver = Solver::kBeam;
  spec.solve.update_steps = 3;
  return spec;
}

std::vector<float> ErrorOf(const Layer& layer, const Spec& spec, const AdditiveCode& code) {
  const AdditiveShape shape = AdditiveShape::Of(spec, layer.m, layer.n);
  std::vector<float> d(layer.m * layer.n);
  for (int64_t i = 0; i < shape.out_groups(); ++i) {
    DecodeOutGroup(
        shape, code.books.data(), code.codes.data() + i * shape.in_groups() * shape.codebooks,
        code.scales.data() + i * shape.scale_columns, d.data() + i * shape.out_group * layer.n);
  }
  for (size_t i = 0; i < d.size(); ++i) d[i] = layer.w[i] - d[i];
  return d;
}

double RelativeError(const Layer& layer, const Spec& spec, const AdditiveCode& code) {
  return layer.Energy(ErrorOf(layer, spec, code)) / layer.Energy(layer.w);
}

// Keeps every state and the loss of every round.
class Recorder : public SolveWatch {
 public:
  void OnRound(int round, double loss) override {
    EXPECT_EQ(round, static_cast<int>(losses.size()) + 1);
    losses.push_back(loss);
  }
  void OnFraction(double fraction) override {
    EXPECT_GE(fraction, last_fraction);
    EXPECT_LE(fraction, 1.0);
    last_fraction = fraction;
  }
  bool StateDue() override { return keep_states; }
  void OnState(std::string state) override { states.push_back(std::move(state)); }

  bool keep_states = true;
  double last_fraction = 0;
  std::vector<double> losses;
  std::vector<std::string> states;
};

AdditiveCode Solve(Layer* layer, const Spec& spec, Executor& executor, SolveWatch* watch = nullptr,
                   const std::string& state = "") {
  const Metric metric = layer->metric();
  absl::StatusOr<AdditiveCode> code = SolveAdditive({&spec, layer->view(), &metric, nullptr, state},
                                                    executor, layer->cancel, watch);
  EXPECT_TRUE(code.ok()) << code.status();
  return code.ok() ? *std::move(code) : AdditiveCode();
}

std::vector<Spec> Variants() {
  std::vector<Spec> specs(6, AdditiveSpec());
  specs[1].solve.update = CodebookRule::kAdam;
  specs[1].solve.adam = AdamRule::kCode;
  specs[1].solve.update_steps = 5;
  specs[1].solve.rounds = 3;
  specs[2].levels.out_group = 2;
  specs[2].levels.in_group = 4;
  specs[2].solve.beam = 3;
  specs[3].partition.granularity = Granularity::kGroup;
  specs[3].partition.group_size = 8;
  specs[4] = specs[3];
  specs[4].storage.kind = StorageKind::kTable;
  specs[5].fit.refine_rounds = 1;
  specs[5].fit.seeding = Seeding::kFarthest;
  return specs;
}

TEST(AdditiveTest, RoundsNeverRaiseTheLossAndEndFarBelowTheStart) {
  Layer layer(48, 64, 1);
  for (const Spec& spec : Variants()) {
    Recorder watch;
    const AdditiveCode code = Solve(&layer, spec, layer.executor, &watch);
    ASSERT_GE(watch.losses.size(), 2u);
    for (size_t r = 1; r < watch.losses.size(); ++r) {
      EXPECT_LE(watch.losses[r], watch.losses[r - 1] * (1 + 1e-6));
    }
    EXPECT_EQ(watch.last_fraction, 1.0);
    // Rounding to F16 costs next to nothing.
    EXPECT_LE(RelativeError(layer, spec, code), watch.losses.back() * 1.002);
    Spec start_only = spec;
    start_only.solve.rounds = 0;
    EXPECT_LT(RelativeError(layer, spec, code),
              0.8 * RelativeError(layer, start_only, Solve(&layer, start_only, layer.executor)));
  }
}

TEST(AdditiveTest, EveryUpdateAndEverySearchLowersTheLoss) {
  Layer layer(40, 64, 2);
  for (Spec spec : Variants()) {
    spec.solve.rounds = 0;
    AdditiveCode code = Solve(&layer, spec, layer.executor);
    const AdditiveShape shape = AdditiveShape::Of(spec, layer.m, layer.n);
    const Metric metric = layer.metric();
    absl::StatusOr<CodebookUpdate> update =
        CodebookUpdate::Create(spec, shape, layer.view(), metric, layer.executor, layer.cancel);
    ASSERT_TRUE(update.ok());
    double loss = layer.Energy(ErrorOf(layer, spec, code));
    for (int round = 1; round <= 4; ++round) {
      ASSERT_TRUE(update->Begin(&code, layer.executor, layer.cancel).ok());
      for (int step = 0; step < spec.solve.update_steps; ++step) {
        ASSERT_TRUE(update->Step(&code, layer.executor, layer.cancel).ok());
      }
      const double told = update->End(&code);
      const double updated = layer.Energy(ErrorOf(layer, spec, code));
      EXPECT_NEAR(told, updated, 1e-4 * updated);
      EXPECT_LE(updated, loss * (1 + 1e-6));
      const BeamPass pass(shape, metric, code.books.data(), spec.solve.beam, round);
      std::vector<float> error(layer.w.size()), product(layer.w.size());
      std::vector<double> losses(shape.out_groups());
      BeamScratch scratch;
      pass.Run(layer.w.data(), code.scales.data(), nullptr, shape.out_groups(), code.codes.data(),
               error.data(), product.data(), losses.data(), &scratch, layer.cancel);
      loss = layer.Energy(ErrorOf(layer, spec, code));
      EXPECT_LE(loss, updated * (1 + 1e-6));
    }
  }
}

TEST(AdditiveTest, GoesOnFromAnyStateToTheSameBytes) {
  Layer layer(40, 64, 3);
  for (Spec spec : Variants()) {
    spec.fit.iterations = 4;
    spec.solve.rounds = std::min(spec.solve.rounds, 3);
    Recorder watch;
    const AdditiveCode whole = Solve(&layer, spec, layer.executor, &watch);
    ASSERT_GT(watch.states.size(), 10u);
    for (const std::string& state : watch.states) {
      ASSERT_EQ(Solve(&layer, spec, layer.executor, nullptr, state), whole);
    }
  }
}

TEST(AdditiveTest, HasTheSameBytesForAnyOrderOfThreads) {
  Layer layer(96, 64, 4);
  for (const Spec& spec : Variants()) {
    const AdditiveCode alone = Solve(&layer, spec, layer.executor);
    reference::ShuffledExecutor shuffled(3, 7);
    EXPECT_EQ(Solve(&layer, spec, shuffled), alone);
  }
}

TEST(AdditiveTest, StoresNumbersOfF16) {
  Layer layer(40, 64, 5);
  for (const Spec& spec : Variants()) {
    const AdditiveCode code = Solve(&layer, spec, layer.executor);
    for (const auto* values : {&code.books, &code.scales, &code.scale_tables}) {
      for (const float v : *values) EXPECT_EQ(v, RoundTo(DType::kF16, v));
    }
    const int64_t tables = static_cast<int64_t>(code.scale_tables.size());
    for (size_t i = 0; tables > 0 && i < code.scales.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / (layer.n / 8);
      EXPECT_EQ(code.scales[i],
                code.scale_tables[(row << spec.storage.bits) + code.scale_codes[i]]);
    }
  }
}

TEST(AdditiveTest, RefusesStatesThatAreNotOfThisProblem) {
  Layer layer(40, 64, 6), other(48, 64, 6);
  Spec spec = AdditiveSpec();
  spec.fit.iterations = 3;
  spec.solve.rounds = 2;
  Recorder watch;
  Solve(&layer, spec, layer.executor, &watch);
  const Metric metric = layer.metric(), wider = other.metric();
  for (const std::string& state : watch.states) {
    for (const size_t length : {size_t{1}, state.size() / 2, state.size() - 1}) {
      const std::string cut = state.substr(0, length);
      EXPECT_EQ(SolveAdditive({&spec, layer.view(), &metric, nullptr, cut}, layer.executor,
                              layer.cancel, nullptr)
                    .status()
                    .code(),
                absl::StatusCode::kInvalidArgument);
    }
    const std::string longer = state + "x";
    EXPECT_FALSE(SolveAdditive({&spec, layer.view(), &metric, nullptr, longer}, layer.executor,
                               layer.cancel, nullptr)
                     .ok());
    EXPECT_FALSE(SolveAdditive({&spec, other.view(), &wider, nullptr, state}, layer.executor,
                               layer.cancel, nullptr)
                     .ok());
  }
}

// Whatever its numbers say: the digest around a state stops accidents, not forgeries.
TEST(AdditiveTest, DeliversNoNumberBeyondF16FromAForgedState) {
  Layer layer(16, 32, 9);
  std::vector<Spec> specs(3, AdditiveSpec());
  specs[1].solve.update = CodebookRule::kAdam;
  specs[2].partition.granularity = Granularity::kGroup;
  specs[2].partition.group_size = 8;
  const Metric metric = layer.metric();
  int refused = 0, taken = 0;
  for (Spec& spec : specs) {
    spec.levels.codebook_bits = 2;
    spec.fit.iterations = 2;
    spec.solve.rounds = spec.solve.update_steps = 2;
    Recorder watch;
    Solve(&layer, spec, layer.executor, &watch);
    for (const std::string& state : watch.states) {
      for (const float number : {std::nanf(""), HUGE_VALF, 1e30f}) {
        for (size_t at = 61; at + sizeof number <= state.size(); at += 36) {
          std::string forged = state;
          std::memcpy(forged.data() + at, &number, sizeof number);
          const absl::StatusOr<AdditiveCode> code =
              SolveAdditive({&spec, layer.view(), &metric, nullptr, forged}, layer.executor,
                            layer.cancel, nullptr);
          ++(code.ok() ? taken : refused);
          if (!code.ok()) continue;
          for (const auto* values : {&code->books, &code->scales, &code->scale_tables}) {
            for (const float v : *values) ASSERT_TRUE(std::isfinite(RoundTo(DType::kF16, v))) << at;
          }
        }
      }
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(taken, 100);
}

TEST(AdditiveTest, FindsTheCodesThatMadeAWeightAgain) {
  Layer layer(40, 64, 7);
  Spec spec = AdditiveSpec();
  spec.solve.rounds = 2;
  const AdditiveCode made = Solve(&layer, spec, layer.executor);
  const std::vector<float> error = ErrorOf(layer, spec, made);
  for (size_t i = 0; i < layer.w.size(); ++i) layer.w[i] -= error[i];  // exactly decodable now
  spec.fit.kind = FitKind::kGiven;
  const Metric identity = Metric::Identity(layer.n);
  AdditiveCode given = made;
  const auto solve = [&](const Metric& metric) {
    return SolveAdditive({&spec, layer.view(), &metric, &given, ""}, layer.executor, layer.cancel,
                         nullptr);
  };
  absl::StatusOr<AdditiveCode> again = solve(identity);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, made);
  // Without codes to start from: no patch may end farther away than a greedy choice.
  given.codes.clear();
  again = solve(identity);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->books, made.books);
  EXPECT_EQ(again->scales, made.scales);
  const double h_error = RelativeError(layer, spec, *solve(layer.metric()));
  EXPECT_LT(h_error, RelativeError(layer, spec, *again) + 1e-9);
}

TEST(AdditiveTest, EncodesOnlyTheShareOfPatchesThatMovedMost) {
  Layer layer(40, 64, 8);
  Spec spec = AdditiveSpec();
  spec.solve.rounds = 3;
  const AdditiveCode made = Solve(&layer, spec, layer.executor);
  spec.fit.kind = FitKind::kGiven;
  spec.solve.changed_share = 0.1;
  // One patch moves far, all others hardly.
  for (int64_t k = 0; k < 8; ++k) layer.w[5 * layer.n + 16 + k] *= -3;
  const Metric identity = Metric::Identity(layer.n);
  absl::StatusOr<AdditiveCode> code = SolveAdditive({&spec, layer.view(), &identity, &made, ""},
                                                    layer.executor, layer.cancel, nullptr);
  ASSERT_TRUE(code.ok()) << code.status();
  int64_t changed = 0;
  for (int64_t patch = 0; patch < 40 * 8; ++patch) {
    changed += code->codes[2 * patch] != made.codes[2 * patch] ||
               code->codes[2 * patch + 1] != made.codes[2 * patch + 1];
  }
  EXPECT_GE(changed, 1);
  EXPECT_LE(changed, 32);
  const int64_t moved = 5 * 8 + 2;
  EXPECT_TRUE(code->codes[2 * moved] != made.codes[2 * moved] ||
              code->codes[2 * moved + 1] != made.codes[2 * moved + 1]);
}

TEST(AdditiveTest, RefusesGivenNumbersBeyondF16) {
  Layer layer(40, 64, 9);
  Spec spec = AdditiveSpec();
  spec.solve.rounds = 1;
  AdditiveCode given = Solve(&layer, spec, layer.executor);
  spec.fit.kind = FitKind::kGiven;
  given.books[7] = 1e6f;
  const Metric metric = layer.metric();
  const absl::Status status = SolveAdditive({&spec, layer.view(), &metric, &given, ""},
                                            layer.executor, layer.cancel, nullptr)
                                  .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find("codebook number 7 is 1e+06"), std::string::npos);
}

TEST(AdditiveTest, StopsWhenCancelledInAnyStage) {
  Layer layer(40, 64, 10);
  Spec spec = AdditiveSpec();
  spec.fit.iterations = 3;
  spec.solve.rounds = 2;
  // Cancels when the n-th state is due.
  class Canceller : public SilentWatch {
   public:
    Canceller(int after, CancelToken* token) : left_(after), token_(token) {}
    bool StateDue() override {
      if (--left_ == 0) token_->Cancel();
      return false;
    }

   private:
    int left_;
    CancelToken* token_;
  };
  const Metric metric = layer.metric();
  for (int after = 1; after < 40; ++after) {
    CancelToken cancel;
    Canceller watch(after, &cancel);
    const absl::StatusOr<AdditiveCode> code =
        SolveAdditive({&spec, layer.view(), &metric, nullptr, ""}, layer.executor, cancel, &watch);
    if (code.ok()) {
      EXPECT_GT(after, 10);
      return;
    }
    EXPECT_EQ(code.status().code(), absl::StatusCode::kCancelled);
  }
}

TEST(AdditiveTest, LeavesAllZeroRowsAndDeadColumnsHarmless) {
  Layer layer(40, 64, 11);
  std::fill_n(layer.w.begin() + 3 * 64, 64, 0.0f);
  for (int64_t k = 0; k < 64; ++k) {
    float* h = layer.hessian->square();
    h[std::min<int64_t>(k, 9) * 64 + std::max<int64_t>(k, 9)] = 0;
  }
  for (const Spec& spec : Variants()) {
    const AdditiveCode code = Solve(&layer, spec, layer.executor);
    for (const float v : ErrorOf(layer, spec, code)) ASSERT_TRUE(std::isfinite(v));
  }
}

}  // namespace
}  // namespace quantd
