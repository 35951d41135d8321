// The plain layout, from its FORMAT page.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/files/independent_fields.h"
#include "workers/core/status_macros.h"

namespace quantd::independent {
namespace {

// Tables of bitsandbytes, as documented: NF4 ascending, FP4 by its three low bits with a sign bit.
constexpr float kNf4[16] = {-1.0f,
                            -0.6961928009986877f,
                            -0.5250730514526367f,
                            -0.39491748809814453f,
                            -0.28444138169288635f,
                            -0.18477343022823334f,
                            -0.09105003625154495f,
                            0.0f,
                            0.07958029955625534f,
                            0.16093020141124725f,
                            0.24611230194568634f,
                            0.33791524171829224f,
                            0.44070982933044434f,
                            0.5626170039176941f,
                            0.7229568362236023f,
                            1.0f};
constexpr double kFp4[8] = {0, 0.0625, 8, 12, 4, 6, 2, 3};  // twelfths

float FixedLevel(FixedTable table, int code) {
  if (table == FixedTable::kNf4) return kNf4[code & 15];
  const float magnitude = static_cast<float>(kFp4[code & 7] / 12.0);
  return (code & 8) != 0 ? -magnitude : magnitude;
}

// bitsandbytes' signed dynamic map: in decade i the means of neighbours among 2^i + 1 even points
// from 0.1 to 1, both signs; 0 and 1 beside them.
std::vector<float> DynamicMap() {
  std::vector<float> map = {0.0f, 1.0f};
  for (int i = 0; i < 7; ++i) {
    const int cells = 1 << i;
    for (int k = 0; k < cells; ++k) {
      const double mean = 0.1 + 0.9 * (k + 0.5) / cells;
      const float value = static_cast<float>(mean * std::pow(10.0, i - 6));
      map.push_back(value);
      map.push_back(-value);
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}

// The value of one of the three weights of a seven-bit cluster word.
float ClusterValue(int word, int which) {
  constexpr float kSize[] = {1.0f, 2.5f, 5.0f};
  if (word < 64) {
    const int code = word >> (2 * which) & 3;
    return (code & 1) != 0 ? kSize[code >> 1] : -kSize[code >> 1];
  }
  const int rest = word - 64;
  if (rest >= 60 || which == rest / 20) return 0.0f;
  // Small, middle and large sizes of the two weights that are not dropped.
  constexpr int kPairs[5][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 2}, {2, 1}};
  const bool first = which == (rest / 20 == 0 ? 1 : 0);
  const float size = kSize[kPairs[rest % 20 / 4][first ? 0 : 1]];
  return (rest >> (first ? 0 : 1) & 1) != 0 ? size : -size;
}

// In place: every block of `block` numbers, `stride` apart, times the normalized Hadamard matrix.
void Hadamard(double* values, int64_t block, int64_t stride) {
  for (int64_t half = 1; half < block; half *= 2) {
    for (int64_t i = 0; i < block; ++i) {
      if ((i & half) != 0) continue;
      double& a = values[i * stride];
      double& b = values[(i + half) * stride];
      const double sum = a + b, difference = a - b;
      a = sum;
      b = difference;
    }
  }
  const double norm = 1.0 / std::sqrt(static_cast<double>(block));
  for (int64_t i = 0; i < block; ++i) values[i * stride] *= norm;
}

class Plain {
 public:
  explicit Plain(const Tensors& tensors)
      : tensors_(tensors),
        spec_(tensors.module().spec),
        bits_(spec_.levels.bits),
        m_(tensors.rows()),
        n_(tensors.cols()) {}

  absl::Status Load();
  Rows Decode(int64_t begin, int64_t rows);

 private:
  absl::StatusOr<Bytes> Find(absl::string_view suffix, DType dtype, const Shape& shape) const {
    return tensors_.Find(suffix, dtype, shape);
  }
  absl::Status LoadGrid();
  absl::Status LoadCodes();
  absl::Status LoadBookCodes();
  absl::Status LoadScales();
  absl::Status LoadExceptions();
  absl::Status LoadSigns();
  absl::Status CheckOutliers() const;
  Bytes Optional(absl::string_view suffix) const {
    const PackedView* const view = tensors_.Lookup(suffix);
    return view == nullptr ? Bytes() : view->bytes;
  }

  // Strided groups are stored as neighbours: stored row k is row (k % g) * (m / g) + k / g.
  int64_t StoredRow(int64_t row) const {
    const int64_t stride = m_ / group_rows_;
    return strided_ ? row % stride * group_rows_ + row / stride : row;
  }
  float Scale(int64_t p, int64_t g) const;
  float RealZero(int64_t p, int64_t g) const;
  float Value(int64_t row, int64_t column) const;
  float PatchValue(int64_t row, int64_t column) const;
  void AddExceptions(int64_t row, float* values) const;
  Rows DecodeCoded(int64_t begin, int64_t rows) const;
  void UnrotateRows(std::vector<float>* values) const;
  void UnrotateColumns(int64_t begin, std::vector<float>* values) const;

  const Tensors& tensors_;
  const Spec& spec_;
  const int bits_;
  const int64_t m_;
  const int64_t n_;
  bool strided_ = false;
  int64_t group_rows_ = 1, group_columns_ = 1;
  int64_t grid_rows_ = 1, groups_ = 1;
  int64_t row_bits_ = 0;
  std::vector<int64_t> group_of_, first_bit_, table_of_;  // by column
  std::vector<int> column_bits_;
  std::vector<int64_t> kept_at_;  // by column, -1: not kept
  int64_t kept_ = 0, recent_ = 0;
  std::vector<float> dynamic_map_;
  int64_t input_block_ = 0, output_block_ = 0;
  Bytes codes_, scales_, scale_codes_, zeros_, real_zeros_, zero_codes_, super_, tables_;
  Bytes tensor_scale_, scale_offset_, outlier_rows_, outlier_columns_, outlier_values_;
  Bytes kept_values_, recent_rows_, input_signs_, output_signs_, codebooks_;
  DType column_dtype_ = DType::kU16;
};

absl::Status Plain::LoadGrid() {
  const Partition& p = spec_.partition;
  const bool group = p.granularity == Granularity::kGroup;
  const bool down = p.granularity == Granularity::kColumn || (group && p.axis == GroupAxis::kIn);
  const bool one = p.granularity == Granularity::kTensor;
  const int64_t along = spec_.levels.additive() ? spec_.levels.out_group : 1;
  group_rows_ = one ? m_ : !down ? along : group ? std::min(p.group_size, m_) : m_;
  group_columns_ = down ? 1 : group ? std::min(p.group_size, n_) : n_;
  strided_ = p.strided && down && group && p.group_size < m_ && m_ % p.group_size == 0;
  grid_rows_ = (m_ + group_rows_ - 1) / group_rows_;
  groups_ = (n_ + group_columns_ - 1) / group_columns_;
  group_of_.resize(n_);
  for (int64_t k = 0; k < n_; ++k) group_of_[k] = k / group_columns_;
  if (tensors_.Lookup(".g_idx") == nullptr) return absl::OkStatus();
  QUANTD_ASSIGN_OR_RETURN(const Bytes index, Find(".g_idx", DType::kI32, {n_}));
  for (int64_t k = 0; k < n_; ++k) {
    group_of_[k] = Integer(index, k, 4);
    if (group_of_[k] < 0 || group_of_[k] >= groups_) {
      return tensors_.Bad(".g_idx", absl::StrCat("entry ", k, " is ", group_of_[k],
                                                 ", expected 0 to ", groups_ - 1));
    }
  }
  return absl::OkStatus();
}

absl::Status Plain::LoadBookCodes() {
  const Levels& levels = spec_.levels;
  const int64_t codes = n_ / levels.in_group * levels.codebooks;
  row_bits_ = (codes * levels.codebook_bits + 7) / 8 * 8;
  QUANTD_ASSIGN_OR_RETURN(codes_,
                          Find(".codes", DType::kU8, {m_ / levels.out_group, row_bits_ / 8}));
  return absl::OkStatus();
}

absl::Status Plain::LoadCodes() {
  if (spec_.levels.additive()) return LoadBookCodes();
  column_bits_.assign(n_, bits_);
  if (tensors_.Lookup(".column_bits") != nullptr) {
    QUANTD_ASSIGN_OR_RETURN(const Bytes bits, Find(".column_bits", DType::kU8, {n_}));
    for (int64_t k = 0; k < n_; ++k) {
      column_bits_[k] = static_cast<int>(bits[k]);
      if (column_bits_[k] < 1 || column_bits_[k] > 8) {
        return tensors_.Bad(".column_bits", absl::StrCat("column ", k, " has ", column_bits_[k]));
      }
    }
  }
  int64_t at = 0, entries = 0;
  for (int64_t k = 0; k < n_; ++k) {
    first_bit_.push_back(at);
    table_of_.push_back(entries);
    at += column_bits_[k];
    entries += int64_t{1} << column_bits_[k];
  }
  if (spec_.levels.kind == LevelKind::kCluster) at = (n_ + 2) / 3 * 7;
  row_bits_ = (at + 7) / 8 * 8;
  QUANTD_ASSIGN_OR_RETURN(codes_, Find(".codes", DType::kU8, {m_, row_bits_ / 8}));
  if (spec_.levels.table_numbers() == 0) return absl::OkStatus();
  const DType dtype = spec_.storage.dtype();
  if (spec_.allocation.kind == AllocationKind::kColumnScore) {
    QUANTD_ASSIGN_OR_RETURN(tables_, Find(".tables", dtype, {grid_rows_, entries}));
    return absl::OkStatus();
  }
  const int64_t numbers = spec_.levels.table_numbers();
  QUANTD_ASSIGN_OR_RETURN(tables_, Find(".tables", dtype, {grid_rows_, groups_, numbers}));
  return absl::OkStatus();
}

absl::Status Plain::LoadScales() {
  const Levels& levels = spec_.levels;
  if (!levels.scaled()) return absl::OkStatus();
  const StorageKind kind = spec_.storage.kind;
  const bool integer = kind == StorageKind::kInt, table = kind == StorageKind::kTable;
  const Shape grid = {grid_rows_, groups_};
  const int64_t code_bytes = integer || table ? (groups_ * spec_.storage.bits + 7) / 8 : groups_;
  if (!spec_.storage.coded()) {
    QUANTD_ASSIGN_OR_RETURN(scales_, Find(".scales", spec_.storage.dtype(), grid));
  } else {
    QUANTD_ASSIGN_OR_RETURN(scale_codes_,
                            Find(".scale_codes", DType::kU8, {grid_rows_, code_bytes}));
  }
  if (!levels.symmetric() && !levels.real_zero()) {
    QUANTD_ASSIGN_OR_RETURN(zeros_, Find(".zeros", DType::kU8, grid));
  } else if (levels.real_zero() && integer) {
    QUANTD_ASSIGN_OR_RETURN(zero_codes_, Find(".zero_codes", DType::kU8, {grid_rows_, code_bytes}));
  } else if (levels.real_zero()) {
    const DType dtype = spec_.storage.coded() ? DType::kF16 : spec_.storage.dtype();
    QUANTD_ASSIGN_OR_RETURN(real_zeros_, Find(".real_zeros", dtype, grid));
  }
  if (integer) {
    const int64_t outer = (grid_rows_ + spec_.storage.super_group - 1) / spec_.storage.super_group;
    QUANTD_ASSIGN_OR_RETURN(
        super_, Find(".super", DType::kF16, {outer, groups_, levels.real_zero() ? 4 : 2}));
  }
  if (table) {
    QUANTD_ASSIGN_OR_RETURN(
        super_, Find(".super", DType::kF16, {grid_rows_, int64_t{1} << spec_.storage.bits}));
  }
  if (kind == StorageKind::kNested) {
    dynamic_map_ = DynamicMap();
    QUANTD_ASSIGN_OR_RETURN(super_,
                            Find(".super", DType::kF32, {(grid_rows_ * groups_ + 255) / 256}));
    QUANTD_ASSIGN_OR_RETURN(scale_offset_, Find(".scale_offset", DType::kF32, {1}));
  }
  if (kind == StorageKind::kE4M3) {
    QUANTD_ASSIGN_OR_RETURN(tensor_scale_, Find(".tensor_scale", DType::kF32, {1}));
  }
  return absl::OkStatus();
}

absl::Status Plain::LoadExceptions() {
  if (spec_.exceptions.stores_outliers()) {
    column_dtype_ = n_ <= 65536 ? DType::kU16 : DType::kI32;
    QUANTD_ASSIGN_OR_RETURN(outlier_rows_, Find(".outlier_rows", DType::kI32, {m_ + 1}));
    QUANTD_ASSIGN_OR_RETURN(outlier_columns_, Find(".outlier_columns", column_dtype_, {-1}));
    QUANTD_ASSIGN_OR_RETURN(outlier_values_, Find(".outlier_values", DType::kF16, {-1}));
    QUANTD_RETURN_IF_ERROR(CheckOutliers());
  }
  kept_at_.assign(n_, -1);
  if (const PackedView* const kept = tensors_.Lookup(".kept_columns")) {
    QUANTD_ASSIGN_OR_RETURN(const Bytes columns, Find(".kept_columns", DType::kI32, {-1}));
    kept_ = kept->decl.shape[0];
    for (int64_t i = 0; i < kept_; ++i) {
      const int64_t column = Integer(columns, i, 4);
      if (column < 0 || column >= n_) {
        return tensors_.Bad(".kept_columns", absl::StrCat("entry ", i, " is ", column));
      }
      kept_at_[column] = i;
    }
    QUANTD_ASSIGN_OR_RETURN(kept_values_, Find(".kept_values", DType::kF16, {m_, kept_}));
  }
  if (const PackedView* const recent = tensors_.Lookup(".recent_rows")) {
    QUANTD_ASSIGN_OR_RETURN(recent_rows_, Find(".recent_rows", DType::kF16, {-1, n_}));
    recent_ = std::min(m_, recent->decl.shape[0]);
  }
  return absl::OkStatus();
}

absl::Status Plain::CheckOutliers() const {
  const int width = column_dtype_ == DType::kU16 ? 2 : 4;
  const int64_t count = static_cast<int64_t>(outlier_columns_.size()) / width;
  if (static_cast<int64_t>(outlier_values_.size()) / 2 != count) {
    return tensors_.Bad(".outlier_values", absl::StrCat("does not hold ", count, " numbers"));
  }
  int64_t before = 0;
  for (int64_t r = 0; r <= m_; ++r) {
    const int64_t at = Integer(outlier_rows_, r, 4);
    if (at < before || at > count) {
      return tensors_.Bad(".outlier_rows", absl::StrCat("entry ", r, " is ", at));
    }
    before = at;
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t column = Field(outlier_columns_, i * width * 8, width * 8 - (width == 4));
    if (column >= n_) {
      return tensors_.Bad(".outlier_columns", absl::StrCat("entry ", i, " is ", column));
    }
  }
  return absl::OkStatus();
}

absl::Status Plain::LoadSigns() {
  const auto largest = [](int64_t size, int64_t most) {
    int64_t b = 1;
    while (size % (2 * b) == 0 && 2 * b <= most) b *= 2;
    return b;
  };
  const RotationKind kind = spec_.transform.rotation;
  if (kind == RotationKind::kInput || kind == RotationKind::kBoth) {
    QUANTD_ASSIGN_OR_RETURN(input_signs_, Find(".input_signs", DType::kI8, {n_}));
    const int64_t asked = spec_.transform.rotation_block;
    input_block_ = asked != 0 ? asked : largest(n_, n_);
  }
  if (kind == RotationKind::kBoth) {
    QUANTD_ASSIGN_OR_RETURN(output_signs_, Find(".output_signs", DType::kI8, {m_}));
    output_block_ = largest(m_, 256);
  }
  for (const auto& [b, size] : {std::pair(input_block_, n_), std::pair(output_block_, m_)}) {
    if (b != 0 && size % b != 0) {
      return tensors_.Bad(".input_signs", absl::StrCat("blocks of ", b, " do not fill ", size));
    }
  }
  return absl::OkStatus();
}

absl::Status Plain::Load() {
  if (spec_.levels.additive()) {
    QUANTD_ASSIGN_OR_RETURN(codebooks_, FindCodebooks(tensors_));
  }
  QUANTD_RETURN_IF_ERROR(LoadGrid());
  QUANTD_RETURN_IF_ERROR(LoadCodes());
  QUANTD_RETURN_IF_ERROR(LoadScales());
  QUANTD_RETURN_IF_ERROR(LoadExceptions());
  return LoadSigns();
}

float Plain::Scale(int64_t p, int64_t g) const {
  const int64_t i = p * groups_ + g;
  switch (spec_.storage.kind) {
    case StorageKind::kE8M0: {
      // Integers in [-1, 1]: a code counts in steps of 2^-(bits - 2).
      const int shift = spec_.levels.affine() ? bits_ - 2 : 0;
      const int code = static_cast<int>(scale_codes_[i]);
      return code == 255 ? PowerOfTwo(255)
                         : static_cast<float>(std::ldexp(1.0, code - 127 - shift));
    }
    case StorageKind::kE4M3:
      return Minifloat(NumberFormat::kE4M3, static_cast<int>(scale_codes_[i])) *
             Real(tensor_scale_, DType::kF32, 0);
    case StorageKind::kNested:
      return dynamic_map_[static_cast<int>(scale_codes_[i])] * Real(super_, DType::kF32, i / 256) +
             Real(scale_offset_, DType::kF32, 0);
    case StorageKind::kTable: {
      const int64_t row_bits = (groups_ * spec_.storage.bits + 7) / 8 * 8;
      const int code =
          Field(scale_codes_, p * row_bits + g * spec_.storage.bits, spec_.storage.bits);
      return Real(super_, DType::kF16, (p << spec_.storage.bits) + code);
    }
    case StorageKind::kInt: {
      const int64_t row_bits = (groups_ * spec_.storage.bits + 7) / 8 * 8;
      const int code =
          Field(scale_codes_, p * row_bits + g * spec_.storage.bits, spec_.storage.bits);
      const int64_t at =
          (p / spec_.storage.super_group * groups_ + g) * (spec_.levels.real_zero() ? 4 : 2);
      return Real(super_, DType::kF16, at) *
             (static_cast<float>(code) - Real(super_, DType::kF16, at + 1));
    }
    default:
      return Real(scales_, spec_.storage.dtype(), i);
  }
}

float Plain::RealZero(int64_t p, int64_t g) const {
  if (spec_.storage.kind != StorageKind::kInt) {
    return Real(real_zeros_, spec_.storage.coded() ? DType::kF16 : spec_.storage.dtype(),
                p * groups_ + g);
  }
  const int64_t row_bits = (groups_ * spec_.storage.bits + 7) / 8 * 8;
  const int code = Field(zero_codes_, p * row_bits + g * spec_.storage.bits, spec_.storage.bits);
  const int64_t at = (p / spec_.storage.super_group * groups_ + g) * 4;
  return Real(super_, DType::kF16, at + 2) *
         (static_cast<float>(code) - Real(super_, DType::kF16, at + 3));
}

float Plain::PatchValue(int64_t row, int64_t column) const {
  const Levels& levels = spec_.levels;
  const int64_t first = row / levels.out_group * row_bits_ +
                        column / levels.in_group * levels.codebooks * levels.codebook_bits;
  return PatchSum(levels, codebooks_, row, column, [&](int book) {
    return Field(codes_, first + book * levels.codebook_bits, levels.codebook_bits);
  });
}

float Plain::Value(int64_t row, int64_t column) const {
  const int64_t p = row / group_rows_, g = group_of_[column];
  const Levels& levels = spec_.levels;
  if (levels.additive()) return PatchValue(row, column) * Scale(p, g);
  if (levels.kind == LevelKind::kCluster) {
    const int word = Field(codes_, row * row_bits_ + column / 3 * 7, 7);
    return ClusterValue(word, static_cast<int>(column % 3)) * Scale(p, g);
  }
  const int code = Field(codes_, row * row_bits_ + first_bit_[column], column_bits_[column]);
  const DType dtype = spec_.storage.dtype();
  switch (levels.kind) {
    case LevelKind::kMinifloat:
      return Minifloat(levels.format, code) * Scale(p, g);
    case LevelKind::kFixedTable:
      return FixedLevel(levels.table, code) * Scale(p, g);
    case LevelKind::kLearnedTable: {
      if (spec_.allocation.kind == AllocationKind::kColumnScore) {
        const int64_t row_entries = table_of_[n_ - 1] + (int64_t{1} << column_bits_[n_ - 1]);
        return Real(tables_, dtype, p * row_entries + table_of_[column] + code);
      }
      return Real(tables_, dtype, ((p * groups_ + g) << bits_) + code);
    }
    case LevelKind::kBinaryCoding: {
      const int64_t at = (p * groups_ + g) * (bits_ + 1);
      float value = Real(tables_, dtype, at + bits_);
      for (int i = 0; i < bits_; ++i) {
        const float a = Real(tables_, dtype, at + i);
        value += (code >> i & 1) != 0 ? a : -a;
      }
      return value;
    }
    default:
      break;
  }
  if (levels.real_zero()) return (static_cast<float>(code) - RealZero(p, g)) * Scale(p, g);
  const int zero =
      levels.symmetric() ? 1 << (bits_ - 1) : static_cast<int>(zeros_[p * groups_ + g]);
  return static_cast<float>(code - zero) * Scale(p, g);
}

// Kept columns replace, outliers are added, recent rows replace.
void Plain::AddExceptions(int64_t row, float* values) const {
  for (int64_t k = 0; k < n_; ++k) {
    if (kept_at_[k] >= 0) values[k] = Real(kept_values_, DType::kF16, row * kept_ + kept_at_[k]);
  }
  if (!outlier_rows_.empty()) {
    const int width = column_dtype_ == DType::kU16 ? 2 : 4;
    for (int64_t i = Integer(outlier_rows_, row, 4); i < Integer(outlier_rows_, row + 1, 4); ++i) {
      const int64_t column = Field(outlier_columns_, i * width * 8, width * 8 - (width == 4));
      values[column] += Real(outlier_values_, DType::kF16, i);
    }
  }
  const int64_t recent = row - (m_ - recent_);
  for (int64_t k = 0; recent >= 0 && k < n_; ++k) {
    values[k] = Real(recent_rows_, DType::kF16, recent * n_ + k);
  }
}

Rows Plain::DecodeCoded(int64_t begin, int64_t rows) const {
  std::vector<float> out(rows * n_);
  for (int64_t r = 0; r < rows; ++r) {
    float* const values = out.data() + r * n_;
    const int64_t stored = StoredRow(begin + r);
    for (int64_t k = 0; k < n_; ++k) values[k] = Value(stored, k);
    AddExceptions(stored, values);
  }
  return out;
}

void Plain::UnrotateRows(std::vector<float>* values) const {
  std::vector<double> row(n_);
  for (size_t first = 0; first < values->size(); first += n_) {
    for (int64_t k = 0; k < n_; ++k) row[k] = (*values)[first + k];
    for (int64_t b = 0; b < n_; b += input_block_) Hadamard(row.data() + b, input_block_, 1);
    for (int64_t k = 0; k < n_; ++k) {
      const bool negative = static_cast<int8_t>(input_signs_[k]) < 0;
      (*values)[first + k] = static_cast<float>(negative ? -row[k] : row[k]);
    }
  }
}

void Plain::UnrotateColumns(int64_t begin, std::vector<float>* values) const {
  const int64_t rows = static_cast<int64_t>(values->size()) / n_;
  std::vector<double> column(rows);
  for (int64_t k = 0; k < n_; ++k) {
    for (int64_t r = 0; r < rows; ++r) column[r] = (*values)[r * n_ + k];
    for (int64_t b = 0; b < rows; b += output_block_) Hadamard(column.data() + b, output_block_, 1);
    for (int64_t r = 0; r < rows; ++r) {
      const bool negative = static_cast<int8_t>(output_signs_[begin + r]) < 0;
      (*values)[r * n_ + k] = static_cast<float>(negative ? -column[r] : column[r]);
    }
  }
}

Rows Plain::Decode(int64_t begin, int64_t rows) {
  if (output_block_ == 0) {
    QUANTD_ASSIGN_OR_RETURN(std::vector<float> values, DecodeCoded(begin, rows));
    if (input_block_ != 0) UnrotateRows(&values);
    return values;
  }
  // A rotated row is a mixture of all rows of its block.
  const int64_t first = begin / output_block_ * output_block_;
  const int64_t last =
      std::min(m_, (begin + rows + output_block_ - 1) / output_block_ * output_block_);
  QUANTD_ASSIGN_OR_RETURN(std::vector<float> values, DecodeCoded(first, last - first));
  UnrotateRows(&values);
  UnrotateColumns(first, &values);
  return std::vector<float>(values.begin() + (begin - first) * n_,
                            values.begin() + (begin - first + rows) * n_);
}

}  // namespace

Rows DecodePlain(const Tensors& tensors, int64_t begin, int64_t rows) {
  Plain plain(tensors);
  QUANTD_RETURN_IF_ERROR(plain.Load());
  return plain.Decode(begin, rows);
}

}  // namespace quantd::independent
