#include "workers/linalg/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "workers/core/float16.h"
#include "workers/linalg/row_kernels.h"

namespace quantd {
namespace {

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

// Runs every test with each table that this CPU has.
class ConvertTest : public testing::TestWithParam<const RowKernels*> {
 protected:
  void SetUp() override { ASSERT_TRUE(SetRowKernelsForTest(GetParam()->name)); }
  void TearDown() override { SetRowKernelsForTest(""); }
};

INSTANTIATE_TEST_SUITE_P(, ConvertTest, testing::ValuesIn(SupportedRowKernels()),
                         [](const auto& info) { return std::string(info.param->name); });

// Values around every rounding decision of the two 16-bit types, and arbitrary bit patterns.
std::vector<float> RoundingCases() {
  std::vector<float> cases;
  for (uint32_t h = 0; h < 0x10000; ++h) {
    for (const uint32_t base :
         {Bits(FromF16(static_cast<uint16_t>(h))) + 0x1000, (h << 16) + 0x8000}) {
      for (const uint32_t delta : {0u, 1u, ~0u})
        cases.push_back(std::bit_cast<float>(base + delta));
    }
  }
  std::mt19937 rng(7);
  for (int i = 0; i < 50000; ++i)
    cases.push_back(std::bit_cast<float>(static_cast<uint32_t>(rng())));
  return cases;
}

TEST_P(ConvertTest, WidensEvery16BitPatternLikeTheScalarDefinition) {
  std::vector<uint16_t> all(65536);
  for (int i = 0; i < 65536; ++i) all[i] = static_cast<uint16_t>(i);
  std::vector<float> out(all.size());
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    ToF32(dtype, reinterpret_cast<const std::byte*>(all.data()), out.data(), 65536);
    for (uint32_t i = 0; i < 65536; ++i) {
      const float expected = dtype == DType::kF16 ? FromF16(i) : FromBF16(i);
      ASSERT_EQ(Bits(out[i]), Bits(expected)) << DTypeName(dtype) << " " << i;
    }
  }
}

TEST_P(ConvertTest, NarrowsLikeTheScalarDefinition) {
  const std::vector<float> cases = RoundingCases();
  std::vector<uint16_t> out(cases.size());
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    FromF32(dtype, cases.data(), reinterpret_cast<std::byte*>(out.data()), cases.size());
    for (size_t i = 0; i < cases.size(); ++i) {
      const uint16_t expected = dtype == DType::kF16 ? ToF16(cases[i]) : ToBF16(cases[i]);
      ASSERT_EQ(out[i], expected) << DTypeName(dtype) << " of bits " << Bits(cases[i]);
    }
  }
}

TEST_P(ConvertTest, TakesAnyLengthAndAnyAddress) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const size_t width = DTypeBytes(dtype);
    for (int64_t n = 0; n <= 70; ++n) {
      std::vector<float> values(n), back(n + 1, -1.0f);
      for (int64_t i = 0; i < n; ++i) values[i] = static_cast<float>(i - 30) * 0.5f;
      std::vector<std::byte> bytes(n * width + 2, std::byte{0x5A});
      FromF32(dtype, values.data(), bytes.data() + 1, n);
      ToF32(dtype, bytes.data() + 1, back.data(), n);
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(back[i], values[i]);
      EXPECT_EQ(back[n], -1.0f);
      EXPECT_EQ(bytes.front(), std::byte{0x5A});
      EXPECT_EQ(bytes.back(), std::byte{0x5A});
    }
  }
}

TEST_P(ConvertTest, FindsTheFirstNonFiniteValue) {
  const float bad[] = {std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN(),
                       std::numeric_limits<float>::signaling_NaN(), -std::nanf("")};
  for (const float x : bad) {
    for (int64_t at = 0; at < 150; ++at) {
      std::vector<float> values(150, -std::numeric_limits<float>::max());
      values[at] = x;
      values[149] = x;
      ASSERT_EQ(FirstNonFinite(values.data(), 150), at);
    }
  }
  std::vector<float> late(10000, 0x1p-149f);
  EXPECT_EQ(FirstNonFinite(late.data(), 10000), -1);
  EXPECT_EQ(FirstNonFinite(late.data(), 0), -1);
  late[9001] = bad[0];
  EXPECT_EQ(FirstNonFinite(late.data(), 10000), 9001);
}

template <typename T, typename F>
void ExpectTransposes(F transpose) {
  for (const int64_t rows : {1, 3, 4, 31, 32, 33, 70}) {
    for (const int64_t cols : {1, 2, 5, 32, 37, 64, 100}) {
      const int64_t src_stride = cols + 3, dst_stride = rows + 5;
      std::vector<T> src(rows * src_stride), dst(cols * dst_stride, T{77});
      for (size_t i = 0; i < src.size(); ++i) src[i] = static_cast<T>((i * 37) % 251);
      transpose(src.data(), rows, cols, src_stride, dst.data(), dst_stride);
      for (int64_t c = 0; c < cols; ++c) {
        for (int64_t r = 0; r < dst_stride; ++r) {
          // What lies between the rows of the result stays as it was.
          const T expected = r < rows ? src[r * src_stride + c] : T{77};
          ASSERT_EQ(dst[c * dst_stride + r], expected)
              << rows << "x" << cols << " " << r << "," << c;
        }
      }
    }
  }
}

TEST(TransposeTest, MovesEveryElement) {
  ExpectTransposes<float>(TransposeF32);
  ExpectTransposes<uint8_t>(TransposeU8);
}

}  // namespace
}  // namespace quantd
