#include "tests/unit/workers/pack/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <numeric>
#include <random>

#include "absl/strings/escaping.h"
#include "tests/reference/pack_reference.h"
#include "workers/core/float16.h"
#include "workers/core/shape.h"
#include "workers/core/spec_counts.h"
#include "workers/linalg/cluster_word.h"
#include "workers/pack/storable.h"

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

Spec Stored(StorageKind kind, Spec spec) {
  spec.storage.kind = kind;
  return spec;
}

Spec Minifloat(NumberFormat format, Spec spec) {
  spec.levels.kind = LevelKind::kMinifloat;
  spec.levels.format = format;
  if (spec.levels.fixed_bits() != 0) spec.levels.bits = spec.levels.fixed_bits();
  return spec;
}

Spec SpqrSpec() {
  Spec spec = Stored(StorageKind::kInt, Asymmetric(GroupSpec(3, 16)));
  spec.levels.zero = ZeroPoint::kReal;
  spec.exceptions.outliers = OutlierKind::kThreshold;
  spec.exceptions.max_share = 0.1;
  return spec;
}

Spec AdditiveSpec(int codebooks, int bits, int out_group, int in_group) {
  Spec spec = RowSpec(4);
  spec.method = "aqlm";
  spec.levels.kind = LevelKind::kAdditive;
  spec.levels.codebooks = codebooks;
  spec.levels.codebook_bits = bits;
  spec.levels.out_group = out_group;
  spec.levels.in_group = in_group;
  return spec;
}

Spec PatchScales(Spec spec, int bits) {
  spec.partition.granularity = Granularity::kGroup;
  spec.partition.group_size = spec.levels.in_group;
  if (bits > 0) {
    spec.storage.kind = StorageKind::kTable;
    spec.storage.bits = bits;
  }
  return spec;
}

namespace {

// Fills one weight with random content, array by array.
class Generator {
 public:
  Generator(const Spec& spec, int64_t m, int64_t n, uint32_t seed)
      : spec_(spec), m_(m), n_(n), random_(seed), shared_(NewShared({})) {}

  Coded Make() {
    coded_.Reshape(spec_, 0, m_, m_, n_, shared_);
    Groups();
    Shared();
    if (spec_.levels.additive()) {
      Books();
    } else {
      Codes();
    }
    if (spec_.levels.scaled()) Parameters();
    Tables();
    Outliers();
    Halves(m_ * static_cast<int64_t>(shared_->kept_columns.size()), &coded_.kept);
    Halves(RecentRows(spec_.exceptions, m_) * n_, &coded_.recent);
    return coded_;
  }

 private:
  int64_t Draw(int64_t limit) { return static_cast<int64_t>(random_() % limit); }

  // A number of `dtype`, of either sign.
  float Number(DType dtype) {
    const float magnitude = 0x1p-10f * static_cast<float>(1 + Draw(100000));
    return RoundTo(dtype, Draw(4) == 0 ? -magnitude : magnitude);
  }

  void Halves(int64_t count, std::vector<float>* values) {
    for (int64_t i = 0; i < count; ++i) values->push_back(Number(DType::kF16));
  }

  // `count` of 0..limit-1, ascending.
  std::vector<int32_t> Choose(int64_t count, int64_t limit) {
    std::vector<int32_t> all(limit);
    std::iota(all.begin(), all.end(), 0);
    for (int64_t i = 0; i < count; ++i) std::swap(all[i], all[i + Draw(limit - i)]);
    all.resize(count);
    std::sort(all.begin(), all.end());
    return all;
  }

  void Groups() {
    if (!NeedsGroupIndex(spec_, n_)) return;
    std::vector<int32_t>& index = shared_->group_of_column;
    for (int64_t k = 0; k < n_; ++k) {
      index.push_back(static_cast<int32_t>(k / coded_.group_columns));
    }
    for (int64_t k = n_ - 1; k > 0; --k) std::swap(index[k], index[Draw(k + 1)]);
    // A shuffle may be the identity; the first and last column never share a group here.
    if (std::is_sorted(index.begin(), index.end())) std::swap(index.front(), index.back());
  }

  void Shared() {
    // A tensor scale that is a rounded reciprocal: NVFP4 stores the other side.
    if (spec_.levels.scaled() && spec_.storage.kind == StorageKind::kE4M3) {
      shared_->tensor_scale = 1.0f / std::fabs(Number(DType::kF32));
    }
    if (spec_.levels.scaled() && spec_.storage.kind == StorageKind::kNested) {
      shared_->scale_offset = Number(DType::kF32) / 3.0f;
    }
    if (spec_.allocation.kind == AllocationKind::kColumnScore) {
      shared_->column_bits.assign(n_, static_cast<uint8_t>(spec_.levels.bits));
      for (const int32_t k : Choose(HighBitColumns(spec_.allocation, n_), n_)) {
        shared_->column_bits[k] = static_cast<uint8_t>(spec_.allocation.high_bits);
      }
    }
    shared_->kept_columns = Choose(KeptColumns(spec_.exceptions, n_), n_);
    if (spec_.transform.scaling != ScalingKind::kNone) {
      for (int64_t k = 0; k < n_; ++k) {
        shared_->column_scale.push_back(std::fabs(Number(DType::kF32)) / 7.0f);
      }
    }
    if (spec_.transform.rotation != RotationKind::kNone) Signs(n_, &shared_->input_signs);
    if (spec_.transform.rotation == RotationKind::kBoth) Signs(m_, &shared_->output_signs);
  }

  void Signs(int64_t count, std::vector<int8_t>* signs) {
    for (int64_t i = 0; i < count; ++i) signs->push_back(Draw(2) == 0 ? 1 : -1);
  }

  uint8_t Code(int64_t column) {
    const Levels& levels = spec_.levels;
    const int bits = shared_->column_bits.empty() ? levels.bits : shared_->column_bits[column];
    const uint8_t code = static_cast<uint8_t>(Draw(int64_t{1} << bits));
    if (levels.kind == LevelKind::kMinifloat && levels.bits == 8 && (code & 0x7F) >= 0x7C) {
      return code & 0x83;
    }
    return code;
  }

  void Codes() {
    for (int64_t r = 0; r < m_; ++r) {
      for (int64_t k = 0; k < n_; ++k) {
        uint8_t* code = &coded_.codes[r * n_ + k];
        *code = Code(k);
        if (spec_.levels.kind != LevelKind::kCluster) continue;
        // Whole clusters are those of a word; a short one is two bits each.
        *code &= 3;
        if (k % 3 == 2) ClusterCodes(static_cast<uint8_t>(Draw(kClusterWords)), code - 2);
      }
    }
  }

  void Books() {
    const Levels& levels = spec_.levels;
    Halves(levels.codebooks * levels.entries() * levels.out_group * levels.in_group,
           &shared_->codebooks);
    for (uint16_t& code : coded_.book_codes) code = static_cast<uint16_t>(Draw(levels.entries()));
  }

  void Parameters() {
    const bool one = spec_.partition.granularity == Granularity::kTensor;
    const Levels& levels = spec_.levels;
    const DType zero_type = spec_.storage.coded() ? DType::kF16 : spec_.storage.dtype();
    for (size_t i = 0; i < coded_.scales.size(); ++i) {
      const bool fresh = !one || i == 0;
      const auto put = [&](auto* values, auto value) {
        if (!values->empty()) (*values)[i] = fresh ? value : (*values)[0];
      };
      if (!spec_.storage.coded()) put(&coded_.scales, Number(spec_.storage.dtype()));
      put(&coded_.scale_codes, ScaleCode());
      const bool has_zero_codes = levels.real_zero();
      put(&coded_.zero_codes, static_cast<uint8_t>(has_zero_codes ? IntCode() : 0));
      put(&coded_.real_zeros, Number(zero_type));
      put(&coded_.zeros, static_cast<uint8_t>(levels.symmetric() ? levels.middle_code()
                                                                 : Draw(levels.max_code() + 1)));
    }
    SecondLevel();
    if (spec_.storage.coded()) DecodeScales();
  }

  int64_t IntCode() { return Draw(int64_t{1} << spec_.storage.bits); }

  uint8_t ScaleCode() {
    switch (spec_.storage.kind) {
      case StorageKind::kE8M0:
        return static_cast<uint8_t>(Draw(200) + 20);
      case StorageKind::kE4M3:
        return static_cast<uint8_t>(Draw(0x7F));
      case StorageKind::kInt:
      case StorageKind::kTable:
        return static_cast<uint8_t>(IntCode());
      default:
        return static_cast<uint8_t>(Draw(256));
    }
  }

  void SecondLevel() {
    const bool is_int = spec_.storage.kind == StorageKind::kInt;
    for (size_t i = 0; i < coded_.super.size(); ++i) {
      const bool halves = is_int || spec_.storage.kind == StorageKind::kTable;
      coded_.super[i] = Number(halves ? DType::kF16 : DType::kF32);
      if (is_int && !spec_.levels.real_zero() && i % 4 >= 2) coded_.super[i] = i % 4 == 2 ? 1 : 0;
    }
  }

  // The formulas of the storages, one scale at a time.
  void DecodeScales() {
    const Storage& storage = spec_.storage;
    const std::vector<float> map = reference::NestedMap();
    for (size_t i = 0; i < coded_.scales.size(); ++i) {
      const int code = coded_.scale_codes[i];
      if (storage.kind == StorageKind::kE8M0) {
        coded_.scales[i] = std::exp2(static_cast<float>(code - 127)) /
                           (spec_.levels.affine() ? 1 << (spec_.levels.bits - 2) : 1);
      } else if (storage.kind == StorageKind::kE4M3) {
        const int exponent = code >> 3 & 15, mantissa = code & 7;
        const float magnitude = exponent == 0 ? static_cast<float>(mantissa) / 512.0f
                                              : std::exp2(static_cast<float>(exponent - 7)) *
                                                    (1.0f + static_cast<float>(mantissa) / 8.0f);
        coded_.scales[i] = (code >= 128 ? -magnitude : magnitude) * shared_->tensor_scale;
      } else if (storage.kind == StorageKind::kInt) {
        const int64_t row = static_cast<int64_t>(i) / coded_.groups / storage.super_group;
        const float* s =
            &coded_.super[(row * coded_.groups + static_cast<int64_t>(i) % coded_.groups) * 4];
        coded_.scales[i] = s[0] * (static_cast<float>(code) - s[1]);
        if (spec_.levels.real_zero()) {
          coded_.real_zeros[i] = s[2] * (static_cast<float>(coded_.zero_codes[i]) - s[3]);
        }
      } else if (storage.kind == StorageKind::kTable) {
        const int64_t row = static_cast<int64_t>(i) / coded_.groups;
        coded_.scales[i] = coded_.super[row * (int64_t{1} << storage.bits) + code];
      } else {
        coded_.scales[i] = map[code] * coded_.super[i / 256] + shared_->scale_offset;
      }
    }
  }

  void Tables() {
    const DType dtype = spec_.storage.dtype();
    const int64_t size = coded_.levels.table_numbers();
    if (size == 0) return;
    if (spec_.levels.kind == LevelKind::kBinaryCoding) {
      for (float& number : coded_.tables) number = Number(dtype);
      if (spec_.partition.granularity != Granularity::kTensor) return;
      for (size_t i = size; i < coded_.tables.size(); ++i) {
        coded_.tables[i] = coded_.tables[i - size];
      }
      return;
    }
    if (spec_.partition.granularity == Granularity::kTensor) {
      shared_->table.resize(size);
      Ascending(size, size, shared_->table.data());
    }
    for (size_t t = 0; t * size < coded_.tables.size(); ++t) {
      const int64_t own = shared_->column_bits.empty()
                              ? size
                              : int64_t{1} << shared_->column_bits[t % coded_.groups];
      Ascending(own, size, &coded_.tables[t * size]);
    }
  }

  // The first `own` are drawn, the others repeat the last.
  void Ascending(int64_t own, int64_t size, float* table) {
    for (int64_t i = 0; i < own; ++i) table[i] = Number(spec_.storage.dtype());
    std::sort(table, table + own);
    std::fill(table + own, table + size, table[own - 1]);
  }

  void Outliers() {
    if (!spec_.exceptions.stores_outliers()) return;
    OutlierTable& table = coded_.outliers;
    const int64_t most = MaxOutliers(spec_.exceptions, m_, n_);
    table.begin.push_back(0);
    for (int64_t r = 0; r < m_; ++r) {
      const int64_t left = most - static_cast<int64_t>(table.column.size());
      const int64_t count = std::min({left, n_, Draw(2 + 2 * most / m_)});
      for (const int32_t k : Choose(count, n_)) {
        table.column.push_back(k);
        table.value.push_back(Number(DType::kF16));
      }
      table.begin.push_back(static_cast<int32_t>(table.column.size()));
    }
  }

  const Spec& spec_;
  const int64_t m_, n_;
  std::mt19937 random_;
  CodedShared* const shared_;
  Coded coded_;
};

}  // namespace

Coded RandomCoded(const Spec& spec, int64_t m, int64_t n, uint32_t seed) {
  return Generator(spec, m, n, seed).Make();
}

CodedShared* NewShared(CodedShared shared) {
  static std::deque<CodedShared> all;  // addresses stay
  return &all.emplace_back(std::move(shared));
}

Coded StripeOf(const Coded& whole, int64_t begin, int64_t rows) {
  Coded stripe = whole;
  const auto cut = [](auto* values, int64_t first, int64_t last, int64_t width) {
    if (values->empty()) return;
    const auto all = *values;
    values->assign(all.begin() + first * width, all.begin() + last * width);
  };
  const int64_t first = begin / whole.group_rows;
  const int64_t last = CeilDiv(begin + rows, whole.group_rows);
  cut(&stripe.codes, begin, begin + rows, whole.cols);
  cut(&stripe.book_codes, first, last, whole.cols / whole.levels.in_group * whole.levels.codebooks);
  cut(&stripe.scales, first, last, whole.groups);
  cut(&stripe.zeros, first, last, whole.groups);
  cut(&stripe.real_zeros, first, last, whole.groups);
  cut(&stripe.scale_codes, first, last, whole.groups);
  cut(&stripe.zero_codes, first, last, whole.groups);
  cut(&stripe.tables, first, last, whole.groups * whole.levels.table_numbers());
  if (whole.storage.kind == StorageKind::kInt) {
    const int64_t size = whole.storage.super_group;
    cut(&stripe.super, first / size, CeilDiv(last, size), whole.groups * 4);
  } else if (whole.storage.kind == StorageKind::kTable) {
    cut(&stripe.super, first, last, int64_t{1} << whole.storage.bits);
  } else {
    cut(&stripe.super, first * whole.groups / 256, CeilDiv(last * whole.groups, 256), 1);
  }
  cut(&stripe.kept, begin, begin + rows,
      whole.shared == nullptr ? 0 : static_cast<int64_t>(whole.shared->kept_columns.size()));
  const int64_t older = whole.rows - static_cast<int64_t>(whole.recent.size()) / whole.cols;
  cut(&stripe.recent, std::max(begin, older) - older, std::max(begin + rows, older) - older,
      whole.cols);
  if (!whole.outliers.begin.empty()) {
    const int32_t from = whole.outliers.begin[begin], to = whole.outliers.begin[begin + rows];
    cut(&stripe.outliers.column, from, to, 1);
    cut(&stripe.outliers.value, from, to, 1);
    cut(&stripe.outliers.begin, begin, begin + rows + 1, 1);
    for (int32_t& at : stripe.outliers.begin) at -= from;
  }
  stripe.row_begin = begin;
  stripe.rows = rows;
  stripe.param_rows = last - first;
  return stripe;
}

std::vector<std::pair<int64_t, int64_t>> StripesOf(const Layout& layout, const Spec& spec,
                                                   int64_t m) {
  const int64_t step = std::lcm(layout.StripeGranule(spec), spec.partition.GroupRows(m));
  std::vector<std::pair<int64_t, int64_t>> stripes;
  for (int64_t r = 0; r < m; r += step) stripes.emplace_back(r, std::min(m, r + step));
  return stripes;
}

std::vector<PackedTensor> PackWhole(const Layout& layout, const Spec& spec, const Coded& whole) {
  auto tensors = AllocatePacked(layout, spec, whole.rows, whole.cols);
  EXPECT_TRUE(tensors.ok()) << tensors.status();
  if (!tensors.ok()) return {};
  const CodedShared none;
  layout.PackShared(spec, whole.rows, whole.cols, whole.shared == nullptr ? none : *whole.shared,
                    absl::MakeSpan(*tensors));
  layout.PackRows(whole, spec, whole.rows, absl::MakeSpan(*tensors));
  if (spec.exceptions.stores_outliers()) {
    const absl::Status status =
        layout.PackOutliers(whole.outliers, spec, whole.rows, absl::MakeSpan(*tensors));
    EXPECT_TRUE(status.ok()) << status;
  }
  return *std::move(tensors);
}

absl::Status UnpackWhole(const Layout& layout, const Spec& spec, int64_t m, int64_t n,
                         absl::Span<const PackedView> in, Coded* out) {
  auto shared = layout.UnpackShared(spec, m, n, in);
  if (!shared.ok()) return shared.status();
  return layout.UnpackRows(spec, m, n, in, *NewShared(*std::move(shared)), 0, m, out);
}

const Layout& LayoutNamed(absl::string_view name) {
  const auto layout = FindLayout(name);
  EXPECT_TRUE(layout.ok()) << layout.status();
  return **layout;
}

std::string Message(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

PackedTensor& TensorOf(std::vector<PackedTensor>& tensors, absl::string_view suffix) {
  for (PackedTensor& tensor : tensors) {
    if (tensor.decl.suffix == suffix) return tensor;
  }
  ADD_FAILURE() << "no tensor " << std::string(suffix);
  return tensors.front();
}

std::string Hex(absl::Span<const std::byte> bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::string Hex(const PackedTensor& tensor) {
  return Hex({tensor.bytes.data(), static_cast<size_t>(tensor.bytes.size())});
}

void ExpectSameCoded(const Coded& want, const Coded& have) {
  EXPECT_EQ(want.levels.kind, have.levels.kind);
  EXPECT_EQ(want.levels.bits, have.levels.bits);
  EXPECT_EQ(want.levels.symmetry, have.levels.symmetry);
  EXPECT_EQ(want.granularity, have.granularity);
  EXPECT_EQ(want.storage.kind, have.storage.kind);
  EXPECT_EQ(want.group_columns, have.group_columns);
  EXPECT_EQ(want.group_rows, have.group_rows);
  EXPECT_EQ(want.groups, have.groups);
  EXPECT_EQ(want.param_rows, have.param_rows);
  EXPECT_TRUE(want.codes == have.codes);
  EXPECT_TRUE(want.book_codes == have.book_codes);
  EXPECT_TRUE(want.zeros == have.zeros);
  EXPECT_TRUE(want.tables == have.tables);
  EXPECT_TRUE(want.super == have.super);
  EXPECT_TRUE(want.real_zeros == have.real_zeros);
  EXPECT_TRUE(want.scale_codes == have.scale_codes);
  EXPECT_TRUE(want.zero_codes == have.zero_codes);
  EXPECT_TRUE(want.kept == have.kept);
  EXPECT_TRUE(want.recent == have.recent);
  EXPECT_EQ(want.row_begin, have.row_begin);
  EXPECT_EQ(want.rows, have.rows);
  EXPECT_EQ(want.cols, have.cols);
  EXPECT_TRUE(want.outliers == have.outliers);
  ASSERT_EQ(want.scales.size(), have.scales.size());
  for (size_t i = 0; i < want.scales.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(want.scales[i]), std::bit_cast<uint32_t>(have.scales[i]))
        << "scale " << i;
  }
  for (int64_t k = 0; k < want.cols; ++k) ASSERT_EQ(want.GroupOf(k), have.GroupOf(k)) << k;
  ASSERT_TRUE(want.shared != nullptr && have.shared != nullptr);
  CodedShared shared = *want.shared;
  EXPECT_EQ(shared.tensor_scale, have.shared->tensor_scale);
  EXPECT_EQ(shared.scale_offset, have.shared->scale_offset);
  // An index that says what its absence says is dropped.
  shared.group_of_column = have.shared->group_of_column;
  EXPECT_TRUE(shared == *have.shared);
}

}  // namespace quantd
