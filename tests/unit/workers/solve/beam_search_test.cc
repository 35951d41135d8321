#include "workers/solve/beam_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "tests/reference/beam_reference.h"
#include "tests/unit/workers/solve/codebook_fixture.h"
#include "workers/solve/beam_scratch.h"

namespace quantd {
namespace {

struct Searched {
  std::vector<uint16_t> codes;
  std::vector<float> error, product;
  std::vector<double> loss;
};

class BeamSearchTest : public CodebookFixture {
 protected:
  Searched Search(const CodebookProblemSetup& p, int beam, uint64_t seed,
                  const uint8_t* free = nullptr, bool with_product = true) {
    const BeamPass pass(p.shape, p.metric, p.code.books.data(), beam, seed);
    return Search(p, pass, free, with_product);
  }

  Searched Search(const CodebookProblemSetup& p, const BeamPass& pass,
                  const uint8_t* free = nullptr, bool with_product = true) {
    const AdditiveShape& s = p.shape;
    Searched out = {p.code.codes, std::vector<float>(s.m * s.n, NAN),
                    std::vector<float>(with_product ? s.m * s.n : 0, NAN),
                    std::vector<double>(s.out_groups(), NAN)};
    pass.Run(p.w.data(), p.code.scales.data(), free, s.out_groups(), out.codes.data(),
             out.error.data(), with_product ? out.product.data() : nullptr, out.loss.data(),
             &scratch_, cancel_);
    return out;
  }

  static AdditiveCode With(const CodebookProblemSetup& p, const Searched& found) {
    AdditiveCode code = p.code;
    code.codes = found.codes;
    return code;
  }

  // One out group after the other, by the reference.
  std::vector<uint16_t> Reference(const CodebookProblemSetup& p, const BeamPass& pass, int beam) {
    const AdditiveShape& s = p.shape;
    reference::BeamOrder order;
    order.in_groups.assign(pass.patch_order().begin(), pass.patch_order().end());
    for (int64_t j = 0; j < s.in_groups(); ++j) {
      const int32_t* books = pass.book_order().data() + j * s.codebooks;
      order.books.emplace_back(books, books + s.codebooks);
    }
    std::vector<uint16_t> all;
    const int64_t size = s.in_groups() * s.codebooks;
    for (int64_t i = 0; i < s.out_groups(); ++i) {
      const auto first = p.code.codes.begin() + i * size;
      const std::vector<uint16_t> codes = reference::BeamSearchOutGroup(
          s, p.code.books, p.w.data() + i * s.out_group * s.n,
          p.code.scales.data() + i * s.scale_columns, p.h, order, beam, {first, first + size});
      all.insert(all.end(), codes.begin(), codes.end());
    }
    return all;
  }

  BeamScratch scratch_;
};

INSTANTIATE_TEST_SUITE_P(, BeamSearchTest, testing::ValuesIn(kCodebookCases), CodebookCaseName);

TEST_P(BeamSearchTest, LossNeverRisesAndIsTheOneReturned) {
  for (const int beam : {1, 2, 3, 8, 64}) {
    CodebookProblemSetup p = Make(GetParam());
    for (uint64_t pass = 0; pass < 3; ++pass) {
      const std::vector<double> before = p.Losses(p.code);
      const Searched found = Search(p, beam, pass);
      const Searched bare = Search(p, beam, pass, nullptr, false);
      const std::vector<double> after = p.Losses(With(p, found));
      ASSERT_EQ(bare.codes, found.codes);
      for (size_t i = 0; i < before.size(); ++i) {
        ASSERT_LE(after[i], before[i] * (1 + 1e-6)) << "out group " << i << " beam " << beam;
        ASSERT_NEAR(found.loss[i], after[i], 1e-4 * after[i]);
        ASSERT_NEAR(bare.loss[i], after[i] - before[i], 1e-5 * before[i]);
        ASSERT_LE(bare.loss[i], 0);
      }
      p.code.codes = found.codes;
    }
  }
}

TEST_P(BeamSearchTest, ErrorAndProductBelongToTheCodes) {
  const CodebookProblemSetup p = Make(GetParam());
  const AdditiveShape& s = p.shape;
  for (const int beam : {1, 4}) {
    const Searched found = Search(p, beam, 5);
    std::vector<float> decoded(s.m * s.n);
    for (int64_t i = 0; i < s.out_groups(); ++i) {
      DecodeOutGroup(s, p.code.books.data(), found.codes.data() + i * s.in_groups() * s.codebooks,
                     p.code.scales.data() + i * s.scale_columns,
                     decoded.data() + i * s.out_group * s.n);
    }
    for (int64_t k = 0; k < s.m * s.n; ++k) ASSERT_EQ(found.error[k], p.w[k] - decoded[k]);
    for (int64_t r = 0; r < s.m; ++r) {
      for (int64_t c = 0; c < s.n; ++c) {
        double want = 0, size = 0;
        for (int64_t k = 0; k < s.n; ++k) {
          want += found.error[r * s.n + k] * p.h[k * s.n + c];
          size += std::fabs(found.error[r * s.n + k] * p.h[k * s.n + c]);
        }
        ASSERT_NEAR(found.product[r * s.n + c], want, 1e-5 * size);
      }
    }
  }
}

TEST_P(BeamSearchTest, CodesAreThoseOfTheReference) {
  const CodebookProblemSetup p = Make(GetParam());
  // With the identity more is kept than the reference keeps: each in group has all hypotheses.
  const std::vector<int> beams =
      p.metric.identity() ? std::vector<int>{1} : std::vector<int>{1, 2, 5, 8};
  for (const int beam : beams) {
    const BeamPass pass(p.shape, p.metric, p.code.books.data(), beam, 11);
    EXPECT_EQ(Search(p, pass).codes, Reference(p, pass, beam)) << "beam " << beam;
  }
}

TEST_P(BeamSearchTest, FixedPatchesKeepTheirCodes) {
  const CodebookProblemSetup p = Make(GetParam());
  const AdditiveShape& s = p.shape;
  std::mt19937 random(9);
  std::vector<uint8_t> free(s.out_groups() * s.in_groups());
  for (uint8_t& f : free) f = random() % 3 == 0;
  for (const int beam : {1, 4}) {
    const Searched found = Search(p, beam, 5, free.data());
    int64_t moved = 0;
    for (size_t k = 0; k < found.codes.size(); ++k) {
      if (found.codes[k] == p.code.codes[k]) continue;
      ++moved;
      ASSERT_TRUE(free[k / s.codebooks] != 0);
    }
    EXPECT_GT(moved, 0);
    EXPECT_LT(p.Loss(With(p, found)), p.Loss(p.code));
  }
}

// Later visits may cross; on one patch a wider beam has all that a narrower one has, and more.
TEST_P(BeamSearchTest, TwoHypothesesAreNeverWorseThanOneOnASinglePatch) {
  const CodebookProblemSetup p = Make(GetParam());
  const AdditiveShape& s = p.shape;
  for (int64_t patch = 0; patch < s.in_groups(); ++patch) {
    std::vector<uint8_t> free(s.out_groups() * s.in_groups(), 0);
    for (int64_t g = 0; g < s.out_groups(); ++g) free[g * s.in_groups() + patch] = 1;
    const Searched one = Search(p, 1, 3, free.data()), two = Search(p, 2, 3, free.data());
    for (int64_t g = 0; g < s.out_groups(); ++g) {
      EXPECT_LE(two.loss[g], one.loss[g] * (1 + 1e-5)) << patch << " " << g;
    }
  }
}

TEST_P(BeamSearchTest, PermutedRowsPermuteCodes) {
  const CodebookProblemSetup p = Make(GetParam());
  const AdditiveShape& s = p.shape;
  CodebookProblemSetup q = Make(GetParam());
  const int64_t rows = s.out_group * s.n, codes = s.in_groups() * s.codebooks;
  for (int64_t i = 0; i < s.out_groups(); ++i) {
    const int64_t from = s.out_groups() - 1 - i;
    std::copy_n(p.w.data() + from * rows, rows, q.w.data() + i * rows);
    std::copy_n(p.code.codes.data() + from * codes, codes, q.code.codes.data() + i * codes);
    std::copy_n(p.code.scales.data() + from * s.scale_columns, s.scale_columns,
                q.code.scales.data() + i * s.scale_columns);
  }
  for (const int beam : {1, 4}) {
    const Searched a = Search(p, beam, 5), b = Search(q, beam, 5);
    for (int64_t i = 0; i < s.out_groups(); ++i) {
      const int64_t from = s.out_groups() - 1 - i;
      EXPECT_TRUE(std::equal(b.codes.begin() + i * codes, b.codes.begin() + (i + 1) * codes,
                             a.codes.begin() + from * codes));
    }
  }
}

class BeamBlocksTest : public BeamSearchTest {};

// In groups of 64 columns: two a block. Nothing may be lost from one block to the next; from the
// third on, hypotheses are dropped that the reference keeps.
TEST_F(BeamBlocksTest, TwoBlocksGiveTheCodesOfTheReference) {
  const CodebookProblemSetup p = Make({"", 8, 256, 1, 64, 2, 3, -1, false});
  for (const int beam : {1, 4, 8}) {
    const BeamPass pass(p.shape, p.metric, p.code.books.data(), beam, 3);
    EXPECT_EQ(Search(p, pass).codes, Reference(p, pass, beam)) << beam;
  }
}

TEST_F(BeamBlocksTest, ManyBlocksLowerTheLoss) {
  for (const auto& c : {CodebookCase{"", 20, 328, 1, 8, 2, 5, -1, false},
                        CodebookCase{"", 12, 300, 2, 6, 3, 4, 0, false},
                        CodebookCase{"", 24, 390, 1, 13, 1, 7, -1, false}}) {
    CodebookProblemSetup p = Make(c);
    double last = p.Loss(p.code);
    std::vector<double> end;
    for (const int beam : {1, 2, 8}) {
      CodebookProblemSetup q = Make(c);
      for (uint64_t seed = 0; seed < 3; ++seed) {
        const std::vector<double> before = q.Losses(q.code);
        const Searched found = Search(q, beam, seed);
        const Searched bare = Search(q, beam, seed, nullptr, false);
        q.code.codes = found.codes;
        const std::vector<double> after = q.Losses(q.code);
        for (size_t i = 0; i < before.size(); ++i) {
          ASSERT_LE(after[i], before[i] * (1 + 1e-6));
          ASSERT_NEAR(found.loss[i], after[i], 1e-4 * after[i]);
          ASSERT_NEAR(bare.loss[i], after[i] - before[i], 1e-5 * before[i]);
        }
      }
      end.push_back(q.Loss(q.code));
      EXPECT_LT(end.back(), 0.5 * last);
    }
    // More hypotheses find more on the whole, though not in every out group.
    EXPECT_LT(end[2], end[0]);
  }
}

TEST_F(BeamBlocksTest, WithoutMetricAndOneBookTheNearestEntryIsFound) {
  for (const int beam : {1, 3}) {
    const CodebookProblemSetup p = Make({"", 30, 32, 1, 8, 1, 6, -1, true});
    const Searched found = Search(p, beam, 1);
    for (size_t k = 0; k < found.codes.size(); ++k) {
      const int64_t row = static_cast<int64_t>(k) / 4;
      const float* w = p.w.data() + k * 8;
      int64_t nearest = 0;
      double least = std::numeric_limits<double>::infinity();
      for (int64_t c = 0; c < 64; ++c) {
        double sum = 0;
        for (int64_t b = 0; b < 8; ++b) {
          const double d = w[b] - static_cast<double>(p.code.scales[row]) * p.code.books[c * 8 + b];
          sum += d * d;
        }
        if (sum < least) {
          least = sum;
          nearest = c;
        }
      }
      ASSERT_EQ(found.codes[k], nearest);
    }
  }
}

TEST_F(BeamBlocksTest, WithoutMetricAWideBeamTriesEveryPair) {
  const CodebookProblemSetup p = Make({"", 20, 16, 1, 4, 2, 3, -1, true});
  const Searched found = Search(p, 8, 1);
  const AdditiveShape& s = p.shape;
  std::vector<float> value(4);
  for (int64_t k = 0; k < s.out_groups() * s.in_groups(); ++k) {
    const float scale = p.code.scales[k / s.in_groups()];
    const auto distance = [&](const uint16_t* codes) {
      DecodePatch(s, p.code.books.data(), codes, scale, value.data());
      double sum = 0;
      for (int64_t b = 0; b < 4; ++b) {
        const double d = static_cast<double>(p.w[k * 4 + b]) - value[b];
        sum += d * d;
      }
      return sum;
    };
    double least = std::numeric_limits<double>::infinity();
    for (uint16_t a = 0; a < 8; ++a) {
      for (uint16_t b = 0; b < 8; ++b) {
        const uint16_t pair[] = {a, b};
        least = std::min(least, distance(pair));
      }
    }
    EXPECT_NEAR(distance(found.codes.data() + k * 2), least, 1e-5);
  }
}

TEST_F(BeamBlocksTest, NothingChangesWhereTheScaleIsZero) {
  for (const int beam : {1, 4}) {
    CodebookProblemSetup p = Make({"", 6, 32, 1, 8, 2, 4, -1, false});
    p.code.scales[2] = 0;
    const Searched found = Search(p, beam, 1);
    for (int64_t k = 16; k < 24; ++k) EXPECT_EQ(found.codes[k], p.code.codes[k]);
    EXPECT_NE(found.codes, p.code.codes);
  }
}

TEST_F(BeamBlocksTest, NegativeScalesAreSearchedLikePositiveOnes) {
  for (const int beam : {1, 4}) {
    CodebookProblemSetup p = Make({"", 6, 32, 1, 8, 2, 4, -1, false});
    for (size_t i = 0; i < p.code.scales.size(); i += 2) p.code.scales[i] *= -1;
    const BeamPass pass(p.shape, p.metric, p.code.books.data(), beam, 3);
    EXPECT_EQ(Search(p, pass).codes, Reference(p, pass, beam));
  }
}

TEST_F(BeamBlocksTest, ScratchOfAnotherShapeDoesNoHarm) {
  const CodebookProblemSetup small = Make({"", 6, 32, 1, 8, 2, 4, -1, false});
  const CodebookProblemSetup large = Make({"", 40, 300, 2, 6, 3, 5, 0, false});
  for (const int beam : {1, 4}) {
    scratch_ = BeamScratch();
    const Searched fresh = Search(small, beam, 1);
    Search(large, 8, 1);
    Search(large, 1, 1);
    const Searched used = Search(small, beam, 1);
    EXPECT_EQ(fresh.codes, used.codes);
    EXPECT_EQ(fresh.product, used.product);
    EXPECT_EQ(fresh.loss, used.loss);
  }
}

TEST_F(BeamBlocksTest, SeedsDecideTheOrderOfVisits) {
  const CodebookProblemSetup p = Make({"", 6, 320, 1, 8, 3, 4, -1, false});
  const BeamPass a(p.shape, p.metric, p.code.books.data(), 1, 1);
  const BeamPass b(p.shape, p.metric, p.code.books.data(), 1, 2);
  const BeamPass c(p.shape, p.metric, p.code.books.data(), 1, 1);
  EXPECT_EQ(a.patch_order(), c.patch_order());
  EXPECT_EQ(a.book_order(), c.book_order());
  EXPECT_NE(a.patch_order(), b.patch_order());
  std::vector<int32_t> sorted(b.patch_order().begin(), b.patch_order().end()), all(40);
  std::iota(all.begin(), all.end(), 0);
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, all);
}

TEST_F(BeamBlocksTest, CancelledSearchStops) {
  const CodebookProblemSetup p = Make({"", 20, 328, 1, 8, 2, 5, -1, false});
  cancel_.Cancel();
  for (const int beam : {1, 4}) EXPECT_EQ(Search(p, beam, 1).codes, p.code.codes);
}

TEST_F(BeamBlocksTest, TilesAreBoundedByMemory) {
  AdditiveShape shape;
  shape.m = shape.n = 28672;
  shape.codebooks = 2;
  for (const int beam : {1, 8, 64}) {
    const Metric metric = Metric::Identity(8);
    AdditiveShape small = shape;
    small.n = 8;
    const std::vector<float> books(small.book_numbers());
    const BeamPass pass(small, metric, books.data(), beam, 1);
    EXPECT_GE(pass.OutGroupsAtOnce(), 32);
    EXPECT_LE(pass.OutGroupsAtOnce(), 256);
    EXPECT_LT(BeamBytes(shape, beam), uint64_t{64} << 20);
  }
}

// The estimate is what a search really holds, within a fifth.
TEST_F(BeamBlocksTest, BytesAreThoseOfTheScratch) {
  for (const int beam : {1, 8}) {
    CodebookProblemSetup p = Make({"", 512, 512, 1, 8, 2, 8, -1, false});
    const BeamPass pass(p.shape, p.metric, p.code.books.data(), beam, 1);
    const int64_t count = pass.OutGroupsAtOnce();
    BeamScratch s;
    std::vector<float> error(count * 512);
    std::vector<double> loss(count);
    pass.Run(p.w.data(), p.code.scales.data(), nullptr, count, p.code.codes.data(), error.data(),
             nullptr, loss.data(), &s, cancel_);
    const auto bytes = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
    double held = bytes(s.old_codes) + bytes(s.change) + bytes(s.moved) + bytes(s.gathered) +
                  bytes(s.crossing) + bytes(s.energy) + bytes(s.t) + bytes(s.step) +
                  bytes(s.chosen) + bytes(s.target) + bytes(s.entry) + bytes(s.squared) +
                  bytes(s.delta) + bytes(s.score) + bytes(s.best) + bytes(s.active) +
                  bytes(s.count) + bytes(s.loss) + bytes(s.before) + bytes(s.carried) +
                  bytes(s.kept);
    for (int k = 0; k < 2; ++k) {
      held += bytes(s.base[k]) + bytes(s.metric[k]) + bytes(s.flip[k]) + bytes(s.codes[k]) +
              bytes(s.deltas[k]) + bytes(s.root[k]) + bytes(s.origin[k]) + bytes(s.losses[k]);
    }
    EXPECT_NEAR(static_cast<double>(BeamBytes(p.shape, beam)), held, 0.2 * held);
  }
}

}  // namespace
}  // namespace quantd
