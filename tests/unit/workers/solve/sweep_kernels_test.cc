#include "workers/solve/sweep_kernels.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace quantd {
namespace {

std::vector<const SweepKernels*> Supported() {
  std::vector<const SweepKernels*> tables = {&kSweepBaseline};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) tables.push_back(&kSweepAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    tables.push_back(&kSweepAvx512);
  }
#endif
  return tables;
}

std::vector<float> Noise(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> v(count);
  for (float& x : v) x = normal(random);
  return v;
}

TEST(SweepKernelsTest, EveryLevelGathersTheSameBitsAsPlainLoops) {
  for (const int64_t rows : {1, 15, 16, 17, 63, 64, 100}) {
    const int64_t count = 37, stride = rows + 3;
    const std::vector<float> d = Noise(count * stride, 1), l = Noise(count, 2);
    std::vector<float> expected = Noise(rows, 3);
    const std::vector<float> start = expected;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < count; ++j) {
        const float product = d[j * stride + r] * l[j];
        expected[r] = expected[r] + product;
      }
    }
    for (const SweepKernels* k : Supported()) {
      std::vector<float> sum = start;
      k->gather(d.data(), stride, l.data(), count, rows, sum.data());
      EXPECT_EQ(sum, expected) << k->name << ", " << rows << " rows";
    }
  }
}

TEST(SweepKernelsTest, EveryLevelSpreadsTheSameBitsAsPlainLoops) {
  for (const int64_t rows : {1, 16, 31, 64}) {
    const int64_t count = 9, stride = rows + 1;
    const std::vector<float> e = Noise(rows, 1), u = Noise(count, 2), a = Noise(count * stride, 3);
    std::vector<float> expected = a;
    for (int64_t j = 0; j < count; ++j) {
      for (int64_t r = 0; r < rows; ++r) {
        const float product = e[r] * u[j];
        expected[j * stride + r] = expected[j * stride + r] - product;
      }
    }
    for (const SweepKernels* k : Supported()) {
      std::vector<float> got = a;
      k->spread(e.data(), u.data(), count, rows, got.data(), stride);
      EXPECT_EQ(got, expected) << k->name << ", " << rows << " rows";
    }
  }
}

TEST(SweepKernelsTest, TheActiveTableIsTheLastSupported) {
  EXPECT_EQ(&ActiveSweepKernels(), Supported().back());
}

}  // namespace
}  // namespace quantd
