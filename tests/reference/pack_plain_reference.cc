#include "tests/reference/pack_plain_reference.h"

#include <algorithm>

#include "tests/reference/pack_cells.h"

namespace quantd::reference {
namespace {

int64_t Up(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool HasIndex(const Spec& spec, int64_t n) {
  return spec.solve.solver == Solver::kGptq && spec.solve.timing == GroupTiming::kDynamic &&
         spec.solve.order != Order::kNatural && !spec.partition.per_ic() &&
         spec.partition.GroupsPerRow(n) > 1;
}

// The word of a cluster, found by trying: 0..63 are three 2-bit codes; from 64 on one weight is
// exactly zero (code 4), and the others are a pair from a list of five with a sign each.
uint64_t WordOfCluster(int a, int b, int c) {
  if (a < 4 && b < 4 && c < 4) return a + 4 * b + 16 * c;
  const int code[3] = {a, b, c};
  const int pairs[5][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 3}, {3, 1}};
  for (int position = 0; position < 3; ++position) {
    for (int pair = 0; pair < 5; ++pair) {
      for (int signs = 0; signs < 4; ++signs) {
        int want[3];
        int other = 0;
        for (int i = 0; i < 3; ++i) {
          if (i == position) {
            want[i] = 4;
          } else {
            want[i] = 2 * pairs[pair][other] + (signs >> other & 1);
            ++other;
          }
        }
        if (std::equal(want, want + 3, code)) return 64 + 20 * position + 4 * pair + signs;
      }
    }
  }
  return 124;
}

StoredTensor Codes(const Coded& c, const Spec& spec) {
  const int64_t m = c.rows, n = c.cols;
  std::vector<int> bits(n, spec.levels.bits);
  if (spec.allocation.kind == AllocationKind::kColumnScore) {
    bits.assign(c.shared->column_bits.begin(), c.shared->column_bits.end());
  }
  int64_t row_bits = 0;
  for (const int b : bits) row_bits += b;
  const bool cluster = spec.levels.kind == LevelKind::kCluster;
  if (cluster) row_bits = Up(n, 3) * 7;
  Cells codes(".codes", DType::kU8, {m, Up(row_bits, 8)});
  for (int64_t r = 0; r < m; ++r) {
    const auto at = [&](int64_t k) { return k < n ? c.codes[r * n + k] : uint8_t{0}; };
    int64_t bit = 0;
    for (int64_t k = 0; k < n; ++k) {
      if (cluster) {
        if (k % 3 == 0) {
          codes.SetField(codes.Index(r, 0), k / 3 * 7, 7,
                         WordOfCluster(at(k), at(k + 1), at(k + 2)));
        }
        continue;
      }
      codes.SetField(codes.Index(r, 0), bit, bits[k], at(k));
      bit += bits[k];
    }
  }
  return codes.tensor();
}

// Additive: a stream for each out group.
StoredTensor BookCodes(const Coded& c, const Spec& spec) {
  const Levels& l = spec.levels;
  const int64_t out_groups = c.rows / l.out_group, count = c.cols / l.in_group * l.codebooks;
  Cells codes(".codes", DType::kU8, {out_groups, Up(count * l.codebook_bits, 8)});
  for (int64_t o = 0; o < out_groups; ++o) {
    for (int64_t i = 0; i < count; ++i) {
      codes.SetField(codes.Index(o, 0), i * l.codebook_bits, l.codebook_bits,
                     c.book_codes[o * count + i]);
    }
  }
  return codes.tensor();
}

// U8 [rows, bytes of `groups` codes].
StoredTensor CodeGrid(const char* suffix, const std::vector<uint8_t>& values, int bits,
                      int64_t rows, int64_t groups) {
  Cells grid(suffix, DType::kU8, {rows, Up(groups * bits, 8)});
  for (int64_t p = 0; p < rows; ++p) {
    for (int64_t g = 0; g < groups; ++g) {
      grid.SetField(grid.Index(p, 0), g * bits, bits, values[p * groups + g]);
    }
  }
  return grid.tensor();
}

StoredTensor Reals(const char* suffix, DType dtype, Shape shape, absl::Span<const float> values) {
  Cells cells(suffix, dtype, std::move(shape));
  for (size_t i = 0; i < values.size(); ++i) cells.SetReal(i, values[i]);
  return cells.tensor();
}

template <typename T>
StoredTensor Integers(const char* suffix, DType dtype, const std::vector<T>& values) {
  Cells cells(suffix, dtype, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) {
    cells.Set(i, static_cast<uint64_t>(static_cast<int64_t>(values[i])));
  }
  return cells.tensor();
}

void Parameters(const Coded& c, const Spec& spec, std::vector<StoredTensor>* out) {
  if (!spec.levels.scaled()) return;
  const int64_t rows = spec.partition.granularity == Granularity::kTensor ? 1 : c.param_rows;
  const int64_t groups = c.groups, count = rows * groups;
  const DType dtype = spec.storage.dtype();
  const StorageKind kind = spec.storage.kind;
  const bool narrow = kind == StorageKind::kInt || kind == StorageKind::kTable;
  const int code_bits = narrow ? spec.storage.bits : 8;
  if (spec.storage.coded()) {
    out->push_back(CodeGrid(".scale_codes", c.scale_codes, code_bits, rows, groups));
  } else {
    out->push_back(
        Reals(".scales", dtype, {rows, groups}, absl::MakeSpan(c.scales).subspan(0, count)));
  }
  const bool asymmetric = spec.levels.affine() && spec.levels.symmetry == Symmetry::kAsymmetric;
  const bool real = asymmetric && spec.levels.zero == ZeroPoint::kReal;
  if (asymmetric && !real) out->push_back(CodeGrid(".zeros", c.zeros, 8, rows, groups));
  if (kind == StorageKind::kInt) {
    if (real) out->push_back(CodeGrid(".zero_codes", c.zero_codes, code_bits, rows, groups));
    std::vector<float> numbers;
    for (size_t i = 0; i < c.super.size(); ++i) {
      if (real || i % 4 < 2) numbers.push_back(c.super[i]);
    }
    out->push_back(Reals(".super", DType::kF16,
                         {Up(rows, spec.storage.super_group), groups, real ? 4 : 2}, numbers));
  } else if (real) {
    out->push_back(Reals(".real_zeros", spec.storage.coded() ? DType::kF16 : dtype, {rows, groups},
                         absl::MakeSpan(c.real_zeros).subspan(0, count)));
  }
  if (kind == StorageKind::kTable) {
    out->push_back(Reals(".super", DType::kF16, {rows, int64_t{1} << spec.storage.bits}, c.super));
  }
  if (kind == StorageKind::kNested) {
    out->push_back(Reals(".super", DType::kF32, {Up(count, 256)}, c.super));
  }
}

void Tables(const Coded& c, const Spec& spec, std::vector<StoredTensor>* out) {
  const DType dtype = spec.storage.dtype();
  const bool one = spec.partition.granularity == Granularity::kTensor;
  const int64_t rows = one ? 1 : c.param_rows;
  if (spec.levels.kind == LevelKind::kBinaryCoding) {
    const int64_t numbers = spec.levels.bits + 1;
    out->push_back(Reals(".tables", dtype, {rows, c.groups, numbers},
                         absl::MakeSpan(c.tables).subspan(0, rows * c.groups * numbers)));
    return;
  }
  if (spec.levels.kind != LevelKind::kLearnedTable) return;
  if (one) {
    out->push_back(
        Reals(".tables", dtype, {1, 1, int64_t{1} << spec.levels.bits}, c.shared->table));
    return;
  }
  if (spec.allocation.kind != AllocationKind::kColumnScore) {
    out->push_back(
        Reals(".tables", dtype, {rows, c.groups, int64_t{1} << spec.levels.bits}, c.tables));
    return;
  }
  std::vector<float> numbers;
  const int64_t stride = int64_t{1} << std::max(spec.levels.bits, spec.allocation.high_bits);
  for (int64_t p = 0; p < rows; ++p) {
    for (int64_t k = 0; k < c.cols; ++k) {
      for (int i = 0; i < 1 << c.shared->column_bits[k]; ++i) {
        numbers.push_back(c.tables[(p * c.cols + k) * stride + i]);
      }
    }
  }
  const int64_t width = static_cast<int64_t>(numbers.size()) / rows;
  out->push_back(Reals(".tables", dtype, {rows, width}, numbers));
}

void KeptOut(const Coded& c, const Spec& spec, std::vector<StoredTensor>* out) {
  const int64_t m = c.rows, n = c.cols;
  if (spec.exceptions.stores_outliers()) {
    out->push_back(Integers(".outlier_rows", DType::kI32, c.outliers.begin));
    out->push_back(
        Integers(".outlier_columns", n <= 65536 ? DType::kU16 : DType::kI32, c.outliers.column));
    out->push_back(Reals(".outlier_values", DType::kF16,
                         {static_cast<int64_t>(c.outliers.value.size())}, c.outliers.value));
  }
  const int64_t kept = static_cast<int64_t>(c.shared->kept_columns.size());
  if (kept > 0) {
    out->push_back(Integers(".kept_columns", DType::kI32, c.shared->kept_columns));
    out->push_back(Reals(".kept_values", DType::kF16, {m, kept}, c.kept));
  }
  const int64_t recent = std::min(m, spec.exceptions.recent_rows);
  if (recent > 0) out->push_back(Reals(".recent_rows", DType::kF16, {recent, n}, c.recent));
}

}  // namespace

std::vector<StoredTensor> PackPlain(const Coded& c, const Spec& spec) {
  const int64_t n = c.cols;
  const Levels& l = spec.levels;
  std::vector<StoredTensor> out = {l.additive() ? BookCodes(c, spec) : Codes(c, spec)};
  Parameters(c, spec, &out);
  Tables(c, spec, &out);
  if (l.additive()) {
    out.push_back(Reals(".codebooks", DType::kF16,
                        {l.codebooks, l.entries(), l.out_group, l.in_group}, c.shared->codebooks));
  }
  if (HasIndex(spec, n)) {
    std::vector<int64_t> index;
    for (int64_t k = 0; k < n; ++k) index.push_back(c.GroupOf(k));
    out.push_back(Integers(".g_idx", DType::kI32, index));
  }
  if (spec.levels.scaled() && spec.storage.kind == StorageKind::kE4M3) {
    out.push_back(Reals(".tensor_scale", DType::kF32, {1}, {c.shared->tensor_scale}));
  }
  if (spec.levels.scaled() && spec.storage.kind == StorageKind::kNested) {
    out.push_back(Reals(".scale_offset", DType::kF32, {1}, {c.shared->scale_offset}));
  }
  if (spec.allocation.kind == AllocationKind::kColumnScore) {
    out.push_back(Integers(".column_bits", DType::kU8, c.shared->column_bits));
  }
  const RotationKind rotation = spec.transform.rotation;
  if (rotation == RotationKind::kInput || rotation == RotationKind::kBoth) {
    out.push_back(Integers(".input_signs", DType::kI8, c.shared->input_signs));
  }
  if (rotation == RotationKind::kBoth) {
    out.push_back(Integers(".output_signs", DType::kI8, c.shared->output_signs));
  }
  KeptOut(c, spec, &out);
  return out;
}

}  // namespace quantd::reference
