#include "workers/solve/codebook_update.h"

#include <cmath>
#include <functional>

#include "absl/status/status.h"
#include "tests/reference/shuffled_executor.h"
#include "tests/unit/workers/solve/codebook_fixture.h"
#include "workers/solve/scale_fit.h"

namespace quantd {
namespace {

using CodebookUpdateTest = CodebookFixture;

INSTANTIATE_TEST_SUITE_P(AllKinds, CodebookUpdateTest, ::testing::ValuesIn(kCodebookCases),
                         CodebookCaseName);

TEST_P(CodebookUpdateTest, LossAndEnergyAreThoseOfTheDefinition) {
  const CodebookProblemSetup p = Make(GetParam());
  const CodebookUpdate update = Update(p);
  const double loss = *update.Loss(p.code, executor_, cancel_);
  EXPECT_NEAR(loss, p.Loss(p.code), 1e-5 * loss);
  AdditiveCode nothing = p.code;
  std::fill(nothing.scales.begin(), nothing.scales.end(), 0.0f);
  EXPECT_NEAR(update.weight_energy(), p.Loss(nothing), 1e-5 * update.weight_energy());
}

TEST_P(CodebookUpdateTest, GradientsAreThoseOfTheDefinition) {
  const CodebookProblemSetup p = Make(GetParam());
  CodebookProblem problem;
  problem.shape = p.shape;
  problem.weight = p.view();
  problem.metric = &p.metric;
  problem.scale_parameters = p.shape.scale_columns;
  const CodebookTiles::Tile all = {0, 0, p.shape.out_groups()};
  std::vector<float> unscaled(p.w.size()), error(p.w.size()), room(p.w.size()), row(p.shape.n);
  DecodeUnscaled(problem, all, p.code.books.data(), p.code.codes.data(), cancel_, unscaled.data());
  ErrorOf(problem, all, unscaled.data(), p.code.scales.data(), cancel_, row.data(), error.data());
  const float* product = TimesMetric(problem, all, error.data(), room.data(), cancel_);
  std::vector<double> books(p.shape.book_numbers()), scales(p.code.scales.size());
  ScatterAdd(problem, all, product, p.code.codes.data(), p.code.scales.data(), cancel_,
             books.data());
  ScaleGradient(problem, all, unscaled.data(), product, nullptr, scales.data());

  const auto expect_near = [](const std::vector<double>& half, const std::vector<double>& whole) {
    double largest = 0;
    for (double g : whole) largest = std::max(largest, std::fabs(g));
    for (size_t k = 0; k < half.size(); ++k) ASSERT_NEAR(-2 * half[k], whole[k], 1e-5 * largest);
  };
  const std::vector<double> gradient = reference::BookGradient(p.shape, p.code, p.w, p.h);
  expect_near(books, gradient);
  expect_near(scales, reference::ScaleGradientOf(p.shape, p.code, p.w, p.h));

  // The reference itself against differences; the loss is quadratic, so they are exact.
  for (size_t k = 0; k < gradient.size(); k += 37) {
    AdditiveCode up = p.code, down = p.code;
    up.books[k] += 0.25f;
    down.books[k] -= 0.25f;
    const double distance = static_cast<double>(up.books[k]) - down.books[k];
    EXPECT_NEAR((p.Loss(up) - p.Loss(down)) / distance, gradient[k],
                1e-5 * (std::fabs(gradient[k]) + 1));
  }
}

TEST_P(CodebookUpdateTest, NoStepRaisesTheLossAndTheLossIsTheOneReturned) {
  const CodebookProblemSetup p = Make(GetParam());
  CodebookUpdate update = Update(p);
  AdditiveCode code = p.code;
  double loss = *update.Begin(&code, executor_, cancel_);
  EXPECT_LE(loss, p.Loss(p.code));
  EXPECT_NEAR(loss, p.Loss(code), 1e-5 * loss);
  const std::vector<float> scales = code.scales;
  for (int step = 0; step < 12; ++step) {
    const double next = *update.Step(&code, executor_, cancel_);
    EXPECT_LE(next, loss) << step;
    EXPECT_NEAR(next, p.Loss(code), 2e-5 * next) << step;
    loss = next;
  }
  EXPECT_EQ(update.End(&code), loss);
  EXPECT_EQ(code.scales, scales);
  EXPECT_EQ(code.codes, p.code.codes);
}

TEST_P(CodebookUpdateTest, ConjugateGradientsEndInTheLeastLoss) {
  const CodebookProblemSetup p = Make(GetParam(), 7);
  for (auto kind : {CodebookPreconditioner::Kind::kNone, CodebookPreconditioner::Kind::kDiagonal,
                    CodebookPreconditioner::Choose(p.shape, p.metric.identity())}) {
    CodebookUpdate update = Update(p);
    update.SetPreconditioner(kind);
    AdditiveCode code = p.code;
    double loss = *update.Begin(&code, executor_, cancel_);
    // Loud channels make the plain system ill-conditioned: it takes several times as many steps.
    const int steps = kind == CodebookPreconditioner::Kind::kNone ? 700 : 120;
    for (int step = 0; step < steps; ++step) loss = *update.Step(&code, executor_, cancel_);
    const double least = reference::LeastLossOverBooks(p.shape, code, p.w, p.h);
    EXPECT_NEAR(loss, least, 1e-5 * least) << static_cast<int>(kind);
    EXPECT_NEAR(p.Loss(code), least, 2e-5 * least) << static_cast<int>(kind);
  }
}

TEST_P(CodebookUpdateTest, EntriesWithoutUseStayPut) {
  CodebookProblemSetup p = Make(GetParam());
  // Entry 1 of every codebook is not used.
  for (uint16_t& c : p.code.codes) c = c == 1 ? 0 : c;
  for (CodebookRule rule : {CodebookRule::kConjugateGradients, CodebookRule::kAdam}) {
    p.spec.solve.update = rule;
    CodebookUpdate update = Update(p);
    AdditiveCode code = p.code;
    ASSERT_TRUE(update.Begin(&code, executor_, cancel_).ok());
    for (int step = 0; step < 4; ++step) ASSERT_TRUE(update.Step(&code, executor_, cancel_).ok());
    for (int64_t k = 0; k < p.shape.book_numbers(); ++k) {
      if (k / p.shape.patch() % p.shape.entries != 1) continue;
      ASSERT_EQ(code.books[k], p.code.books[k]);
    }
    EXPECT_NE(code.books, p.code.books);
  }
}

// Begin, five steps, End, twice; `between` runs after every step.
struct Trace {
  AdditiveCode code;
  std::vector<double> losses;
};
Trace RunRounds(CodebookUpdate update, AdditiveCode code, Executor& executor,
                const std::function<void(CodebookUpdate*)>& between) {
  Trace out{std::move(code), {}};
  const CancelToken cancel;
  for (int round = 0; round < 2; ++round) {
    out.losses.push_back(*update.Begin(&out.code, executor, cancel));
    for (int step = 0; step < 5; ++step) {
      out.losses.push_back(*update.Step(&out.code, executor, cancel));
      between(&update);
    }
    out.losses.push_back(update.End(&out.code));
  }
  return out;
}

TEST_P(CodebookUpdateTest, ASavedUpdateGoesOnWithTheSameBytes) {
  CodebookProblemSetup p = Make(GetParam());
  for (CodebookRule rule : {CodebookRule::kConjugateGradients, CodebookRule::kAdam}) {
    p.spec.solve.update = rule;
    p.spec.solve.adam = AdamRule::kCode;
    p.spec.solve.learning_rate = 0.01;
    const Trace through = RunRounds(Update(p), p.code, executor_, [](CodebookUpdate*) {});
    const Trace resumed = RunRounds(Update(p), p.code, executor_, [&](CodebookUpdate* update) {
      StateWriter writer;
      update->Save(&writer);
      const std::string bytes = writer.Take();
      *update = Update(p);
      StateReader reader(bytes);
      ASSERT_TRUE(update->Load(&reader).ok());
      ASSERT_TRUE(reader.End().ok());
      // Cut anywhere, it is refused.
      CodebookUpdate other = Update(p);
      StateReader cut(absl::string_view(bytes).substr(0, bytes.size() - 3));
      EXPECT_EQ(other.Load(&cut).code(), absl::StatusCode::kInvalidArgument);
    });
    EXPECT_EQ(through.code, resumed.code);
    EXPECT_EQ(through.losses, resumed.losses);
  }
}

TEST_F(CodebookUpdateTest, ResultsDoNotDependOnThreads) {
  for (CodebookCase c : {kCodebookCases[1], kCodebookCases[10]}) {
    c.m = 330;  // several tiles, the last one short
    CodebookProblemSetup p = Make(c);
    for (CodebookRule rule : {CodebookRule::kConjugateGradients, CodebookRule::kAdam}) {
      p.spec.solve.update = rule;
      const auto nothing = [](CodebookUpdate*) {};
      const Trace one = RunRounds(Update(p), p.code, executor_, nothing);
      reference::ShuffledExecutor shuffled(3, 17);
      const Trace many = RunRounds(Update(p, shuffled), p.code, shuffled, nothing);
      EXPECT_EQ(one.code, many.code);
      EXPECT_EQ(one.losses, many.losses);
      AdditiveCode a = one.code, b = many.code;
      EXPECT_EQ(*Update(p).FitScales(true, &a, executor_, cancel_),
                *Update(p).FitScales(true, &b, shuffled, cancel_));
      EXPECT_EQ(a, b);
    }
  }
}

TEST_F(CodebookUpdateTest, BigCodebooksGetFewerLanesThanTheirSumsWouldTake) {
  AdditiveShape shape;
  shape.m = shape.n = 4096;
  EXPECT_EQ(CodebookTiles(shape).lanes(), 16);
  shape.codebooks = 4;
  shape.entries = int64_t{1} << 16;  // 16 MiB of doubles a lane
  EXPECT_EQ(CodebookTiles(shape).lanes(), 4);
  EXPECT_LE(CodebookUpdate::LaneBytes(shape), uint64_t{64} << 20);
}

TEST_F(CodebookUpdateTest, ZeroRowsAndColumnsWithoutInputDoNoHarm) {
  for (CodebookRule rule : {CodebookRule::kConjugateGradients, CodebookRule::kAdam}) {
    CodebookProblemSetup p = Make(kCodebookCases[1], 8);
    p.spec.solve.update = rule;
    std::fill_n(p.w.begin(), p.shape.n, 0.0f);
    std::vector<double> h = p.h;
    // One whole patch and a column of another are dead.
    for (int64_t dead : {0, 1, 2, 3, 4, 5, 6, 7, 12}) {
      for (int64_t k = 0; k < p.shape.n; ++k) h[dead * p.shape.n + k] = h[k * p.shape.n + dead] = 0;
    }
    SetHessian(h, &p);
    CodebookUpdate update = Update(p);
    AdditiveCode code = p.code;
    double loss = *update.Begin(&code, executor_, cancel_);
    for (int step = 0; step < 10; ++step) loss = *update.Step(&code, executor_, cancel_);
    loss = update.End(&code);
    EXPECT_LT(loss, p.Loss(p.code));
    EXPECT_NEAR(loss, p.Loss(code), 1e-5 * loss);
    for (float v : code.books) ASSERT_TRUE(std::isfinite(v));
    for (float v : code.scales) ASSERT_TRUE(std::isfinite(v));
  }
}

TEST_F(CodebookUpdateTest, AnExactCodeStaysExact) {
  CodebookProblemSetup p = Make(kCodebookCases[1], 9);
  const std::vector<double> decoded = reference::DecodeAdditive(p.shape, p.code);
  p.w.assign(decoded.begin(), decoded.end());
  CodebookUpdate update = Update(p);
  AdditiveCode code = p.code;
  ASSERT_TRUE(update.Begin(&code, executor_, cancel_).ok());
  for (int step = 0; step < 5; ++step) ASSERT_TRUE(update.Step(&code, executor_, cancel_).ok());
  EXPECT_LT(p.Loss(code), 1e-11 * update.weight_energy());
}

TEST_F(CodebookUpdateTest, StopsWhenCancelled) {
  for (CodebookRule rule : {CodebookRule::kConjugateGradients, CodebookRule::kAdam}) {
    for (const CodebookCase& c : {kCodebookCases[1], kCodebookCases[10]}) {
      CodebookProblemSetup p = Make(c);
      p.spec.solve.update = rule;
      CodebookUpdate update = Update(p);
      AdditiveCode code = p.code;
      ASSERT_TRUE(update.Begin(&code, executor_, cancel_).ok());
      const AdditiveCode begun = code;
      CancelToken stop;
      stop.Cancel(absl::StatusCode::kDeadlineExceeded);
      const auto expect = [](const auto& result) {
        EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
      };
      expect(CodebookUpdate::Create(p.spec, p.shape, p.view(), p.metric, executor_, stop));
      expect(update.Loss(code, executor_, stop));
      expect(update.FitScales(true, &code, executor_, stop));
      expect(update.Begin(&code, executor_, stop));
      EXPECT_EQ(code, begun);
      expect(update.Step(&code, executor_, stop));
      // Adam has moved already when the gradient of its next step is worked out.
      EXPECT_EQ(code == begun, rule == CodebookRule::kConjugateGradients);
    }
  }
}

class PreconditionerTest : public CodebookFixture {};

TEST_F(PreconditionerTest, SolvesEveryEntrysOwnBlock) {
  for (const CodebookCase& c : {kCodebookCases[2], kCodebookCases[4], kCodebookCases[7]}) {
    const CodebookProblemSetup p = Make(c);
    const AdditiveShape& s = p.shape;
    const auto made = CodebookPreconditioner::Create(CodebookPreconditioner::Kind::kBlock, s,
                                                     p.metric, p.code, executor_, cancel_);
    std::vector<double> r(s.book_numbers()), solved;
    for (size_t k = 0; k < r.size(); ++k) r[k] = std::sin(static_cast<double>(k));
    made->Apply(r, executor_, &solved);
    for (int64_t e = 0; e < s.codebooks * s.entries; ++e) {
      std::vector<double> block(s.in_group * s.in_group);
      for (int64_t i = 0; i < s.out_groups(); ++i) {
        for (int64_t j = 0; j < s.in_groups(); ++j) {
          const int64_t m = e / s.entries, code = e % s.entries;
          if (p.code.codes[(i * s.in_groups() + j) * s.codebooks + m] != code) continue;
          const double scale = p.code.scales[i * s.scale_columns + (s.scale_columns == 1 ? 0 : j)];
          for (int64_t a = 0; a < s.in_group; ++a) {
            for (int64_t b = 0; b < s.in_group; ++b) {
              block[a * s.in_group + b] +=
                  scale * scale * p.h[(j * s.in_group + a) * s.n + j * s.in_group + b];
            }
          }
        }
      }
      for (int64_t row = 0; row < s.out_group; ++row) {
        const double* x = solved.data() + (e * s.out_group + row) * s.in_group;
        for (int64_t a = 0; a < s.in_group; ++a) {
          double sum = block[a * s.in_group + a] * 1e-5 * x[a];  // the ridge
          for (int64_t b = 0; b < s.in_group; ++b) sum += block[a * s.in_group + b] * x[b];
          const double want = r[(e * s.out_group + row) * s.in_group + a];
          EXPECT_NEAR(sum, block[0] > 0 ? want : 0.0, 1e-6) << e;
        }
      }
    }
  }
}

TEST_F(PreconditionerTest, TakesTheDiagonalWhereBlocksWouldBeTooLarge) {
  AdditiveShape shape;
  shape.m = shape.n = 4096;
  shape.entries = 1 << 16;
  EXPECT_EQ(CodebookPreconditioner::Choose(shape, false), CodebookPreconditioner::Kind::kBlock);
  EXPECT_EQ(CodebookPreconditioner::Choose(shape, true), CodebookPreconditioner::Kind::kDiagonal);
  shape.in_group = 16;
  EXPECT_EQ(CodebookPreconditioner::Choose(shape, false), CodebookPreconditioner::Kind::kDiagonal);
}

TEST_F(PreconditionerTest, FiveStepsTakeNearlyAllThatThereIsToGain) {
  const CodebookProblemSetup p = Make({"plain", 160, 64, 1, 4, 2, 4, -1, false}, 12);
  const auto left = [&](CodebookPreconditioner::Kind kind) {
    CodebookUpdate update = Update(p);
    update.SetPreconditioner(kind);
    AdditiveCode code = p.code;
    const double first = *update.Begin(&code, executor_, cancel_);
    double loss = first;
    for (int step = 0; step < 5; ++step) loss = *update.Step(&code, executor_, cancel_);
    const double least = reference::LeastLossOverBooks(p.shape, code, p.w, p.h);
    return (loss - least) / (first - least);
  };
  const double none = left(CodebookPreconditioner::Kind::kNone);
  const double diagonal = left(CodebookPreconditioner::Kind::kDiagonal);
  const double block = left(CodebookPreconditioner::Kind::kBlock);
  EXPECT_LT(block, 0.05);
  EXPECT_LT(diagonal, 0.05);
  EXPECT_LT(block, 0.5 * none);
}

class AdamUpdateTest : public CodebookFixture {
 protected:
  CodebookProblemSetup MakeAdam(AdamRule rule, double rate) {
    CodebookProblemSetup p = Make(kCodebookCases[1], 11);
    p.spec.solve.update = CodebookRule::kAdam;
    p.spec.solve.adam = rule;
    p.spec.solve.learning_rate = rate;
    return p;
  }
};

TEST_F(AdamUpdateTest, StepsAreThoseOfTheFormula) {
  for (AdamRule rule : {AdamRule::kPaper, AdamRule::kCode}) {
    const CodebookProblemSetup p = MakeAdam(rule, 0.003);
    const double beta = rule == AdamRule::kPaper ? 0.9 : 0.0;
    CodebookUpdate update = Update(p);
    AdditiveCode code = p.code;
    ASSERT_TRUE(update.Begin(&code, executor_, cancel_).ok());
    EXPECT_EQ(code, p.code);
    struct Moments {
      std::vector<double> first, second, largest;
    } books, scales;
    const auto step = [&](const std::vector<double>& gradient, int t, Moments* at,
                          std::vector<float> values) {
      for (auto* v : {&at->first, &at->second, &at->largest}) v->resize(values.size());
      for (size_t k = 0; k < values.size(); ++k) {
        const double g = gradient[k] / static_cast<double>(p.shape.m);
        at->first[k] = beta * at->first[k] + (1 - beta) * g;
        at->second[k] = 0.95 * at->second[k] + 0.05 * g * g;
        at->largest[k] = std::max(at->largest[k], at->second[k]);
        const double second = rule == AdamRule::kCode ? at->largest[k] : at->second[k];
        values[k] -= static_cast<float>(0.003 * at->first[k] / (1 - std::pow(beta, t)) /
                                        (std::sqrt(second / (1 - std::pow(0.95, t))) + 1e-8));
      }
      return values;
    };
    for (int t = 1; t <= 4; ++t) {
      const std::vector<float> want_books =
          step(reference::BookGradient(p.shape, code, p.w, p.h), t, &books, code.books);
      const std::vector<float> want_scales =
          step(reference::ScaleGradientOf(p.shape, code, p.w, p.h), t, &scales, code.scales);
      const double loss = *update.Step(&code, executor_, cancel_);
      for (size_t k = 0; k < want_books.size(); ++k) {
        ASSERT_NEAR(code.books[k], want_books[k], 2e-5) << t;
      }
      for (size_t k = 0; k < want_scales.size(); ++k) {
        ASSERT_NEAR(code.scales[k], want_scales[k], 2e-5) << t;
      }
      EXPECT_NEAR(loss, p.Loss(code), 1e-5 * loss);
    }
  }
}

TEST_F(AdamUpdateTest, ManySmallStepsComeNearConjugateGradients) {
  CodebookProblemSetup p = MakeAdam(AdamRule::kPaper, 0.02);
  CodebookUpdate update = Update(p);
  AdditiveCode code = p.code;
  const double first = *update.Begin(&code, executor_, cancel_);
  for (int step = 0; step < 400; ++step) {
    ASSERT_TRUE(update.Step(&code, executor_, cancel_).ok());
  }
  const double loss = update.End(&code);
  const double least = reference::LeastLossOverBooks(p.shape, code, p.w, p.h);
  EXPECT_LT(loss - least, 0.02 * (first - least));
}

TEST_F(AdamUpdateTest, ARoundThatEndsAboveItsStartGoesBackToItsBest) {
  for (double rate : {30.0, 1e30}) {
    CodebookProblemSetup p = MakeAdam(AdamRule::kPaper, rate);
    CodebookUpdate update = Update(p);
    AdditiveCode code = p.code;
    const double first = *update.Begin(&code, executor_, cancel_);
    for (int step = 0; step < 3; ++step) {
      const double loss = *update.Step(&code, executor_, cancel_);
      EXPECT_FALSE(loss <= first);
    }
    EXPECT_EQ(update.End(&code), first);
    EXPECT_EQ(code, p.code);
  }
}

TEST_F(AdamUpdateTest, MomentsLastFromRoundToRound) {
  const CodebookProblemSetup p = MakeAdam(AdamRule::kPaper, 0.001);
  CodebookUpdate update = Update(p);
  AdditiveCode code = p.code;
  const auto step = [&](CodebookUpdate* u, AdditiveCode* c) {
    ASSERT_TRUE(u->Begin(c, executor_, cancel_).ok());
    ASSERT_TRUE(u->Step(c, executor_, cancel_).ok());
    u->End(c);
  };
  step(&update, &code);
  AdditiveCode fresh = code;
  step(&update, &code);
  CodebookUpdate other = Update(p);
  step(&other, &fresh);
  EXPECT_NE(code.books, fresh.books);
}

}  // namespace
}  // namespace quantd
