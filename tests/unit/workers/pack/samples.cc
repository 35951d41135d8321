#include "tests/unit/workers/pack/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <random>

#include "absl/strings/escaping.h"
#include "workers/core/float16.h"

namespace quantd {

Spec GroupSpec(int bits, int64_t group_size) {
  Spec spec;
  spec.method = "rtn";
  spec.levels.bits = bits;
  spec.partition.group_size = group_size;
  spec.partition.tail = TailPolicy::kShortLastGroup;
  return spec;
}

Spec RowSpec(int bits) {
  Spec spec = GroupSpec(bits, 0);
  spec.partition.granularity = Granularity::kRow;
  return spec;
}

Spec TensorSpec(int bits) {
  Spec spec = GroupSpec(bits, 0);
  spec.partition.granularity = Granularity::kTensor;
  return spec;
}

Spec Asymmetric(Spec spec) {
  spec.levels.symmetry = Symmetry::kAsymmetric;
  return spec;
}

Spec DynamicActOrder(Spec spec) {
  spec.method = "gptq";
  spec.solve.solver = Solver::kGptq;
  spec.solve.order = Order::kActOrder;
  spec.solve.timing = GroupTiming::kDynamic;
  spec.solve.factorization = Factorization::kCholesky;
  return spec;
}

Coded RandomCoded(const Spec& spec, int64_t m, int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  const auto draw = [&](int64_t limit) { return static_cast<int64_t>(random() % limit); };
  Coded coded;
  coded.Reshape(spec, 0, m, n);
  for (uint8_t& code : coded.codes) code = static_cast<uint8_t>(draw(spec.levels.max_code() + 1));
  const bool one = spec.partition.granularity == Granularity::kTensor;
  for (size_t i = 0; i < coded.scales.size(); ++i) {
    if (one && i > 0) {
      coded.scales[i] = coded.scales[0];
      coded.zeros[i] = coded.zeros[0];
      continue;
    }
    const float magnitude = 0x1p-10f * static_cast<float>(1 + draw(100000));
    coded.scales[i] = RoundTo(spec.scale_dtype, draw(4) == 0 ? -magnitude : magnitude);
    coded.zeros[i] = static_cast<uint8_t>(
        spec.levels.symmetric() ? spec.levels.middle_code() : draw(spec.levels.max_code() + 1));
  }
  if (spec.solve.solver == Solver::kGptq && spec.solve.timing == GroupTiming::kDynamic &&
      spec.solve.order != Order::kNatural && coded.groups > 1) {
    for (int64_t k = 0; k < n; ++k) {
      coded.group_of_column.push_back(static_cast<int32_t>(k / coded.group_columns));
    }
    for (int64_t k = n - 1; k > 0; --k) {
      std::swap(coded.group_of_column[k], coded.group_of_column[draw(k + 1)]);
    }
    // A shuffle may be the identity; the first and last column never share a group here.
    if (std::is_sorted(coded.group_of_column.begin(), coded.group_of_column.end())) {
      std::swap(coded.group_of_column.front(), coded.group_of_column.back());
    }
  }
  return coded;
}

Coded StripeOf(const Coded& whole, int64_t begin, int64_t rows) {
  Coded stripe = whole;
  const auto cut = [&](auto& values, int64_t per_row) {
    values.assign(values.begin() + begin * per_row, values.begin() + (begin + rows) * per_row);
  };
  cut(stripe.codes, whole.cols);
  cut(stripe.scales, whole.groups);
  cut(stripe.zeros, whole.groups);
  stripe.row_begin = begin;
  stripe.rows = rows;
  return stripe;
}

std::vector<PackedTensor> PackWhole(const Layout& layout, const Spec& spec, const Coded& whole) {
  auto tensors = AllocatePacked(layout, spec, whole.rows, whole.cols);
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  if (!tensors.ok()) return {};
  layout.PackShared(spec, whole.rows, whole.cols, whole.group_of_column, absl::MakeSpan(*tensors));
  layout.PackRows(whole, spec, whole.rows, absl::MakeSpan(*tensors));
  return *std::move(tensors);
}

const Layout& LayoutNamed(absl::string_view name) {
  const auto layout = FindLayout(name);
  EXPECT_TRUE(layout.ok()) << layout.status();
  return **layout;
}

std::string Hex(absl::Span<const std::byte> bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::string Hex(const PackedTensor& tensor) {
  return Hex({tensor.bytes.data(), static_cast<size_t>(tensor.bytes.size())});
}

void ExpectSameCoded(const Coded& want, const Coded& have) {
  EXPECT_EQ(want.levels.bits, have.levels.bits);
  EXPECT_EQ(want.levels.symmetry, have.levels.symmetry);
  EXPECT_EQ(want.granularity, have.granularity);
  EXPECT_EQ(want.row_begin, have.row_begin);
  EXPECT_EQ(want.rows, have.rows);
  EXPECT_EQ(want.cols, have.cols);
  EXPECT_EQ(want.group_columns, have.group_columns);
  EXPECT_EQ(want.groups, have.groups);
  EXPECT_TRUE(want.codes == have.codes);
  EXPECT_TRUE(want.zeros == have.zeros);
  ASSERT_EQ(want.scales.size(), have.scales.size());
  for (size_t i = 0; i < want.scales.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(want.scales[i]), std::bit_cast<uint32_t>(have.scales[i]))
        << "scale " << i;
  }
  for (int64_t k = 0; k < want.cols; ++k) ASSERT_EQ(want.GroupOf(k), have.GroupOf(k)) << k;
}

}  // namespace quantd
