#include "workers/linalg/entry_scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace quantd {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Scan {
  int64_t count, dim, rows;
  std::vector<float> entries_t, q, targets, s;
};

Scan RandomScan(int64_t count, int64_t dim, int64_t rows, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Scan scan = {count, dim, rows, {}, {}, {}, {}};
  for (int64_t i = 0; i < count * dim; ++i) scan.entries_t.push_back(normal(random));
  for (int64_t i = 0; i < count; ++i) scan.q.push_back(std::fabs(normal(random)));
  for (int64_t i = 0; i < rows * dim; ++i) scan.targets.push_back(normal(random));
  for (int64_t i = 0; i < rows; ++i) scan.s.push_back(0.5f + std::fabs(normal(random)));
  return scan;
}

// The contract of entry_scan.h, word for word.
float PlainScore(const Scan& scan, int64_t row, float s, int64_t entry) {
  float score = s * scan.q[entry];
  for (int64_t i = 0; i < scan.dim; ++i) {
    score = std::fma(-2.0f * scan.targets[row * scan.dim + i],
                     scan.entries_t[i * scan.count + entry], score);
  }
  return score;
}

class EntryScanTest : public testing::TestWithParam<const EntryScanKernels*> {
 protected:
  const EntryScanKernels& kernels_ = *GetParam();
};

INSTANTIATE_TEST_SUITE_P(, EntryScanTest,
                         testing::ValuesIn(SupportedEntryScans().begin(),
                                           SupportedEntryScans().end()),
                         [](const auto& info) { return std::string(info.param->name); });

// Counts with and without rest, in one run and in many; dims with and without a kernel of their
// own; targets with and without a rest of four.
const std::vector<Scan>& Scans() {
  static const auto& scans = *new std::vector<Scan>{
      RandomScan(1, 8, 3, 1),    RandomScan(2, 4, 5, 2),   RandomScan(16, 8, 9, 3),
      RandomScan(77, 3, 6, 4),   RandomScan(256, 8, 7, 5), RandomScan(256, 4, 4, 6),
      RandomScan(130, 16, 5, 7), RandomScan(64, 20, 3, 8), RandomScan(5000, 8, 11, 9),
      RandomScan(4097, 6, 9, 10)};
  return scans;
}

TEST_P(EntryScanTest, ScoreHasTheBitsOfPlainLoops) {
  for (const Scan& scan : Scans()) {
    for (int64_t c = 0; c < std::min<int64_t>(scan.count, 50); ++c) {
      ASSERT_EQ(kernels_.score(scan.entries_t.data(), scan.q.data(), scan.count, scan.dim,
                               scan.targets.data() + scan.dim * (scan.rows - 1), 0.7f, c),
                PlainScore(scan, scan.rows - 1, 0.7f, c));
    }
  }
}

TEST_P(EntryScanTest, BestIsTheFirstLeastScore) {
  for (const Scan& scan : Scans()) {
    for (const bool scaled : {true, false}) {
      std::vector<int32_t> best(scan.rows, -1);
      std::vector<float> score(scan.rows);
      kernels_.best(scan.entries_t.data(), scan.q.data(), scan.count, scan.dim, scan.targets.data(),
                    scaled ? scan.s.data() : nullptr, scan.rows, best.data(), score.data());
      for (int64_t r = 0; r < scan.rows; ++r) {
        int32_t want = 0;
        float least = kInfinity;
        for (int64_t c = 0; c < scan.count; ++c) {
          const float x = PlainScore(scan, r, scaled ? scan.s[r] : 1.0f, c);
          if (x < least) {
            least = x;
            want = static_cast<int32_t>(c);
          }
        }
        ASSERT_EQ(best[r], want) << scan.count << " x " << scan.dim;
        ASSERT_EQ(score[r], least);
      }
    }
  }
}

TEST_P(EntryScanTest, OldEntryStaysOnTies) {
  // All entries are the same but the last one, which is worse.
  Scan scan = RandomScan(200, 8, 6, 11);
  for (int64_t i = 0; i < scan.dim; ++i) {
    std::fill_n(scan.entries_t.begin() + i * scan.count, scan.count, 0.25f * static_cast<float>(i));
  }
  std::fill(scan.q.begin(), scan.q.end(), 1.0f);
  scan.q.back() = 9.0f;
  std::vector<int32_t> best = {150, 0, -1, 199, 17, 198};
  std::vector<float> score(6);
  kernels_.best(scan.entries_t.data(), scan.q.data(), scan.count, scan.dim, scan.targets.data(),
                scan.s.data(), 6, best.data(), score.data());
  EXPECT_EQ(best, (std::vector<int32_t>{150, 0, 0, 0, 17, 198}));
}

TEST_P(EntryScanTest, BelowListsAllStrictlyBelow) {
  for (const Scan& scan : Scans()) {
    std::vector<int32_t> index(scan.rows * scan.count);
    std::vector<float> score(scan.rows * scan.count), bounds(scan.rows);
    std::vector<int64_t> found(scan.rows);
    for (int64_t r = 0; r < scan.rows; ++r) {
      bounds[r] = r == 1 ? kInfinity : PlainScore(scan, r, 0.8f, scan.count / 2);
    }
    kernels_.below_each(scan.entries_t.data(), scan.q.data(), scan.count, scan.dim,
                        scan.targets.data(), 0.8f, bounds.data(), scan.rows, index.data(),
                        score.data(), found.data());
    for (int64_t r = 0; r < scan.rows; ++r) {
      std::vector<int32_t> want_index;
      std::vector<float> want_score;
      for (int64_t c = 0; c < scan.count; ++c) {
        const float x = PlainScore(scan, r, 0.8f, c);
        if (!(x < bounds[r])) continue;
        want_index.push_back(static_cast<int32_t>(c));
        want_score.push_back(x);
      }
      const int64_t size = static_cast<int64_t>(want_index.size());
      ASSERT_EQ(found[r], size);
      const auto at = r * scan.count;
      ASSERT_TRUE(std::equal(want_index.begin(), want_index.end(), index.begin() + at));
      ASSERT_TRUE(std::equal(want_score.begin(), want_score.end(), score.begin() + at));
      std::vector<int32_t> one_index(scan.count);
      std::vector<float> one_score(scan.count);
      ASSERT_EQ(kernels_.below(scan.entries_t.data(), scan.q.data(), scan.count, scan.dim,
                               scan.targets.data() + r * scan.dim, 0.8f, bounds[r],
                               one_index.data(), one_score.data()),
                size);
      ASSERT_TRUE(std::equal(want_index.begin(), want_index.end(), one_index.begin()));
    }
  }
}

TEST_P(EntryScanTest, MinimaAreThoseOfEachLane) {
  for (const Scan& scan : Scans()) {
    std::vector<float> least(kScanLanes), want(kScanLanes, kInfinity);
    kernels_.minima(scan.entries_t.data(), scan.q.data(), scan.count, scan.dim, scan.targets.data(),
                    0.8f, least.data());
    for (int64_t c = 0; c < scan.count / kScanLanes * kScanLanes; ++c) {
      want[c % kScanLanes] = std::min(want[c % kScanLanes], PlainScore(scan, 0, 0.8f, c));
    }
    EXPECT_EQ(least, want);
  }
}

TEST_P(EntryScanTest, EnergyIsTheQuadraticForm) {
  std::mt19937 random(12);
  std::normal_distribution<float> normal;
  for (const auto& [out, in, count] :
       {std::array<int64_t, 3>{1, 8, 256}, {2, 4, 37}, {3, 5, 18}, {1, 64, 20}, {1, 1, 2}}) {
    const int64_t ldh = in + 3;
    std::vector<float> entries_t(out * in * count), h(in * ldh), q(count), plain(count);
    for (float& v : entries_t) v = normal(random);
    for (int64_t a = 0; a < in; ++a) {
      for (int64_t b = a; b < in; ++b) h[a * ldh + b] = h[b * ldh + a] = normal(random);
    }
    kernels_.energy(entries_t.data(), count, out, in, h.data(), ldh, q.data());
    SupportedEntryScans().front()->energy(entries_t.data(), count, out, in, h.data(), ldh,
                                          plain.data());
    EXPECT_EQ(q, plain);
    for (int64_t c = 0; c < count; ++c) {
      double want = 0, size = 0;
      for (int64_t a = 0; a < out; ++a) {
        for (int64_t b = 0; b < in; ++b) {
          for (int64_t k = 0; k < in; ++k) {
            const double x = static_cast<double>(entries_t[(a * in + b) * count + c]) *
                             h[b * ldh + k] * entries_t[(a * in + k) * count + c];
            want += x;
            size += std::fabs(x);
          }
        }
      }
      ASSERT_NEAR(q[c], want, 1e-6 * size);
    }
  }
}

TEST_P(EntryScanTest, AddProductAddsRowAfterRow) {
  std::mt19937 random(13);
  std::normal_distribution<float> normal;
  for (const int64_t in : {1, 4, 5, 8, 16, 33, 64}) {
    const int64_t rows = 7, ldh = in + 2;
    std::vector<float> u(rows * in), h(in * ldh), t(rows * in);
    for (auto* v : {&u, &h, &t}) {
      for (float& x : *v) x = normal(random);
    }
    std::vector<float> want = t;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t b = 0; b < in; ++b) {
        for (int64_t i = 0; i < in; ++i) {
          want[r * in + b] = std::fma(u[r * in + i], h[i * ldh + b], want[r * in + b]);
        }
      }
    }
    kernels_.add_product(u.data(), h.data(), ldh, rows, in, t.data());
    EXPECT_EQ(t, want);
  }
}

TEST(EntryScanTableTest, FastestIsActive) {
  EXPECT_EQ(&ActiveEntryScan(), SupportedEntryScans().back());
  EXPECT_STREQ(SupportedEntryScans().front()->name, "baseline");
}

}  // namespace
}  // namespace quantd
