// What additive codes reach: against the paper's own loop, against known figures, against rounding.
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "tests/reference/aqlm_case.h"
#include "tests/reference/aqlm_reference.h"
#include "tests/unit/workers/solve/sweep_fixture.h"
#include "workers/core/float16.h"
#include "workers/fit/residual_kmeans.h"
#include "workers/fit/sampling.h"
#include "workers/fit/vector_kmeans.h"
#include "workers/methods/aqlm.h"
#include "workers/solve/additive.h"

namespace quantd {
namespace {

using reference::AqlmCase;

// 0.2 % of room for the rounding of codebooks to F16, which follows the last round.
constexpr double kRounding = 1.002;

class Losses : public SilentWatch {
 public:
  void OnRound(int, double relative_loss) override { rounds.push_back(relative_loss); }

  std::vector<double> rounds;
};

class AdditiveQualityTest : public SweepFixture {
 protected:
  static Spec SpecOf(int codebooks, int codebook_bits, int in_group, int beam = 1) {
    Spec spec = Aqlm().defaults();
    spec.levels.codebooks = codebooks;
    spec.levels.codebook_bits = codebook_bits;
    spec.levels.in_group = in_group;
    spec.solve.beam = beam;
    return spec;
  }

  static WeightView View(const AqlmCase& layer) {
    return {DType::kF32, reinterpret_cast<const std::byte*>(layer.w.data()), layer.m, layer.n};
  }

  std::vector<float> Solved(const AqlmCase& layer, const Spec& spec) {
    losses_.rounds.clear();
    Hessian hessian;
    if (!layer.h.empty()) hessian = MakeHessian(layer.h, layer.n);
    const Metric metric =
        layer.h.empty() ? Metric::Identity(layer.n) : Metric::Of(&hessian, executor_);
    AdditiveProblem problem;
    problem.spec = &spec;
    problem.weight = View(layer);
    problem.metric = &metric;
    const absl::StatusOr<AdditiveCode> code = SolveAdditive(problem, executor_, cancel_, &losses_);
    EXPECT_TRUE(code.ok()) << code.status();
    return code.ok() ? Decoded(layer, spec, *code) : std::vector<float>(layer.w.size());
  }

  // The residual k-means alone, from its own start.
  double StartError(const AqlmCase& layer, const Spec& spec) {
    const AdditiveShape shape = AdditiveShape::Of(spec, layer.m, layer.n);
    std::vector<float> blocks;
    if (!layer.h.empty()) MakeHessian(layer.h, layer.n).Blocks(shape.in_group, &blocks);
    absl::StatusOr<ResidualKMeans> start =
        ResidualKMeans::Create(spec, shape, View(layer), blocks.empty() ? nullptr : blocks.data());
    EXPECT_TRUE(start.ok()) << start.status();
    while (!start->done()) EXPECT_TRUE(start->Step(executor_, cancel_).ok());
    return OutputError(layer, Decoded(layer, spec, start->code()));
  }

  static std::vector<float> Decoded(const AqlmCase& layer, const Spec& spec,
                                    const AdditiveCode& code) {
    const AdditiveShape shape = AdditiveShape::Of(spec, layer.m, layer.n);
    std::vector<float> decoded(layer.w.size());
    for (int64_t i = 0; i < shape.out_groups(); ++i) {
      DecodeOutGroup(shape, code.books.data(),
                     code.codes.data() + i * shape.in_groups() * shape.codebooks,
                     code.scales.data() + i * shape.scale_columns,
                     decoded.data() + i * shape.out_group * layer.n);
    }
    return decoded;
  }

  // The relative output error, having checked that no round raised it and that it does not lie
  // below what so many bits can hold.
  double Error(const AqlmCase& layer, const Spec& spec) {
    const double error = OutputError(layer, Solved(layer, spec));
    for (size_t i = 1; i < losses_.rounds.size(); ++i) {
      EXPECT_LE(losses_.rounds[i], losses_.rounds[i - 1]) << "round " << i + 1;
    }
    if (!losses_.rounds.empty()) {
      EXPECT_LE(error, kRounding * losses_.rounds.back());
    }
    const double bits =
        AllInBits(layer, spec.levels.codebooks, spec.levels.codebook_bits, spec.levels.in_group);
    EXPECT_GT(error, RateDistortionBound(layer, bits));
    return error;
  }

  // Rows of a norm that F16 holds: the paper's loop rounds no scales, and k-means makes much of
  // small differences.
  static AqlmCase WithStorableNorms(AqlmCase layer) {
    for (int64_t i = 0; i < layer.m; ++i) {
      float* row = layer.w.data() + i * layer.n;
      const double norm = std::sqrt(std::inner_product(row, row + layer.n, row, 0.0));
      const double factor = RoundTo(DType::kF16, static_cast<float>(norm)) / norm;
      for (int64_t j = 0; j < layer.n; ++j) row[j] = static_cast<float>(row[j] * factor);
    }
    return layer;
  }

  // The start of the fast k-means of each codebook, so that both loops begin alike.
  reference::PaperSeeds SameSeeds(uint32_t seed) {
    return [this, seed](const std::vector<float>& points, int64_t count, int64_t dim,
                        int64_t clusters, int book) {
      const auto read = [&](int64_t begin, int64_t rows, float* out) {
        std::copy_n(points.data() + begin * dim, rows * dim, out);
      };
      const PointSource source{count, dim, read};
      const uint64_t stream = SplitMix64(seed).Next() + 4 * static_cast<uint64_t>(book) + 2;
      return SeedCenters(source, clusters, Seeding::kRandom, SplitMix64(stream).Next(), executor_,
                         cancel_);
    };
  }

  Losses losses_;
};

class PaperLoopTest : public AdditiveQualityTest, public ::testing::WithParamInterface<int> {};

// Ten layers with an H each, 2 x 5 bits over eight columns, with and without a refined start.
// Without it both begin alike and differ in the updates; over thirty such layers the ratio is then
// 0.985 with a standard deviation of 0.012. On layers half as large chance alone makes it 0.05.
TEST_P(PaperLoopTest, OursIsNeverTwoPercentWorse) {
  const auto seed = static_cast<uint32_t>(GetParam());
  const int64_t m = 176 + 16 * (seed % 3), n = 256;
  const AqlmCase layer = WithStorableNorms(reference::CorrelatedCase(m, n, seed));
  reference::PaperSettings paper;
  paper.codebook_bits = 5;
  paper.seed = seed;
  const reference::PaperResult theirs = PaperAqlm(layer, paper, SameSeeds(seed));
  std::printf("%lld x %lld: paper's loop %.5f in %zu rounds", static_cast<long long>(m),
              static_cast<long long>(n), theirs.error, theirs.after_search.size());
  for (const int refine_rounds : {0, 3}) {
    Spec spec = SpecOf(2, 5, 8);
    spec.fit.seeding = Seeding::kRandom;
    spec.fit.seed = seed;
    spec.fit.refine_rounds = refine_rounds;
    if (refine_rounds == 0) {  // the paper's k-means as well
      spec.fit.iterations = 100;
      spec.fit.points_per_center = 0;
    }
    const double ours = Error(layer, spec);
    std::printf(", ours with %d rounds of refinement %.5f in %zu, ratio %.4f", refine_rounds, ours,
                losses_.rounds.size(), ours / theirs.error);
    EXPECT_LE(ours, 1.02 * theirs.error) << refine_rounds;
  }
  std::printf("\n");
}

INSTANTIATE_TEST_SUITE_P(Layers, PaperLoopTest, ::testing::Range(1, 11));

// After one iteration; later ones may drive what is almost a tie apart.
TEST_F(AdditiveQualityTest, BothLoopsBeginAlike) {
  const AqlmCase layer = WithStorableNorms(reference::IndependentCase(96, 128, 3));
  reference::PaperSettings paper;
  paper.codebook_bits = 5;
  paper.iterations = 1;
  paper.rounds = 0;
  Spec spec = SpecOf(2, 5, 8);
  spec.fit.seeding = Seeding::kRandom;
  spec.fit.seed = 3;
  spec.fit.iterations = 1;
  spec.fit.refine_rounds = 0;
  const double theirs = PaperAqlm(layer, paper, SameSeeds(3)).start;
  EXPECT_NEAR(StartError(layer, spec), theirs, 1e-5 * theirs);
}

// 2 bits: 0.0162 where the figure was measured first; and a fraction of what rounding and GPTQ
// leave.
TEST_F(AdditiveQualityTest, TwoByEightReachesItsFigureOnCorrelatedInputs) {
  const int64_t n = 512;
  const AqlmCase layer = reference::CorrelatedCase(n, n, 1);
  const double error = Error(layer, SpecOf(2, 8, 8));
  EXPECT_LE(error, 0.0175);
  const double energy = reference::Energy({layer.w.begin(), layer.w.end()}, n, n, layer.h);
  const Spec natural = GptqSpec(2, 128, Order::kNatural);
  const double rtn = Loss(layer.w, Rounded(natural, layer.w, n, n), layer.h) / energy;
  Hessian hessian = MakeHessian(layer.h, n);
  const double gptq = Loss(layer.w, Swept(natural, &hessian, layer.w, n), layer.h) / energy;
  std::printf("512 x 512, 2 bits: 2x8 %.5f in %zu rounds, rtn %.4f, gptq %.4f\n", error,
              losses_.rounds.size(), rtn, gptq);
  EXPECT_LT(error, 0.15 * rtn);
  EXPECT_LT(error, 0.25 * gptq);
}

TEST_F(AdditiveQualityTest, MoreHypothesesReachTheirFigureOnCorrelatedInputs) {
  const AqlmCase layer = reference::CorrelatedCase(512, 512, 1);
  const double error = Error(layer, SpecOf(2, 8, 8, 8));
  std::printf("512 x 512, 2x8, eight hypotheses: %.5f in %zu rounds\n", error,
              losses_.rounds.size());
  EXPECT_LE(error, 0.0145);
}

struct Figure {
  const char* name;
  int codebooks, codebook_bits, in_group;
  double error;  // of the k-means alone, 1024 x 1024
  double least;  // share of it that a quarter of the patches, which a book of as many entries fits
                 // the better, may come down to
};

class IndependentTest : public AdditiveQualityTest, public ::testing::WithParamInterface<Figure> {};

// docs/quality.md has them at full size, where they lie within 5 % of the figure.
TEST_P(IndependentTest, KMeansReachesItsFigureWithoutStatistics) {
  const Figure& figure = GetParam();
  const AqlmCase layer = reference::IndependentCase(512, 512, 1);
  Spec spec = SpecOf(figure.codebooks, figure.codebook_bits, figure.in_group);
  spec.fit.iterations = 25;
  const double error = StartError(layer, spec);
  std::printf("512 x 512, H = I, %s: %.5f\n", figure.name, error);
  EXPECT_LE(error, 1.05 * figure.error);
  EXPECT_GE(error, figure.least * figure.error);
}

INSTANTIATE_TEST_SUITE_P(Schemes, IndependentTest,
                         ::testing::Values(Figure{"1x8g4", 1, 8, 4, 0.0955, 0.95},
                                           Figure{"1x8", 1, 8, 8, 0.3145, 0.95},
                                           Figure{"2x8", 2, 8, 8, 0.1001, 0.92},
                                           Figure{"3x8", 3, 8, 8, 0.0331, 0.88}),
                         [](const auto& info) { return "Scheme" + std::string(info.param.name); });

// Where inputs are independent there is nothing for the alternation to exploit: about 1 %.
TEST_F(AdditiveQualityTest, AlternationGainsLittleWithoutStatistics) {
  const AqlmCase layer = reference::IndependentCase(256, 512, 2);
  const Spec spec = SpecOf(2, 8, 8);
  const double start = StartError(layer, spec), error = Error(layer, spec);
  EXPECT_LE(error, start);
  EXPECT_GE(error, 0.9 * start);
}

TEST_F(AdditiveQualityTest, RefinementByTheBlocksOfHMakesABetterStart) {
  const AqlmCase layer = reference::CorrelatedCase(128, 192, 4);
  Spec spec = SpecOf(2, 5, 8);
  spec.fit.refine_rounds = 0;
  const double plain = StartError(layer, spec);
  spec.fit.refine_rounds = 3;
  EXPECT_LT(StartError(layer, spec), plain);
}

}  // namespace
}  // namespace quantd
