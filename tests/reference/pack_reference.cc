#include "tests/reference/pack_reference.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tests/reference/pack_cells.h"
#include "tests/reference/pack_plain_reference.h"

namespace quantd::reference {
namespace {

int64_t Words(int64_t fields, int bits) { return (fields * bits + 31) / 32; }

bool IsTensorWide(const Spec& spec) { return spec.partition.granularity == Granularity::kTensor; }

StoredTensor RowScales(const Coded& c, const Spec& spec) {
  Cells scale(".weight_scale", spec.storage.dtype(),
              IsTensorWide(spec) ? Shape{1} : Shape{c.rows, c.groups});
  for (int64_t i = 0; i < (IsTensorWide(spec) ? 1 : c.rows * c.groups); ++i) {
    scale.SetReal(i, c.scales[i]);
  }
  return scale.tensor();
}

std::vector<StoredTensor> PackCompressedTensors(const Coded& c, const Spec& spec) {
  const int b = spec.levels.bits;
  const int64_t m = c.rows, n = c.cols;
  Cells packed(".weight_packed", DType::kI32, {m, Words(n, b)});
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t k = 0; k < n; ++k) {
      packed.SetField(packed.Index(r, 0), k * b, b, c.codes[r * n + k]);
    }
  }
  Cells shape(".weight_shape", DType::kI64, {2});
  shape.Set(0, m);
  shape.Set(1, n);
  std::vector<StoredTensor> out = {packed.tensor(), RowScales(c, spec), shape.tensor()};
  if (!spec.levels.symmetric()) {
    Cells zero(".weight_zero_point", DType::kI32, {Words(m, b), c.groups});
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t g = 0; g < c.groups; ++g) {
        for (int j = 0; j < b; ++j) {
          const int64_t at = r * b + j;
          zero.SetBit(zero.Index(at / 32, g), at % 32, (c.zeros[r * c.groups + g] >> j) & 1);
        }
      }
    }
    out.push_back(zero.tensor());
  }
  return out;
}

std::vector<StoredTensor> PackGptq(const Coded& c, const Spec& spec, int offset) {
  const int b = spec.levels.bits;
  const int64_t m = c.rows, n = c.cols;
  Cells qweight(".qweight", DType::kI32, {Words(n, b), m});
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t k = 0; k < n; ++k) {
      for (int j = 0; j < b; ++j) {
        const int64_t at = k * b + j;
        qweight.SetBit(qweight.Index(at / 32, r), at % 32, (c.codes[r * n + k] >> j) & 1);
      }
    }
  }
  Cells qzeros(".qzeros", DType::kI32, {c.groups, Words(m, b)});
  Cells scales(".scales", spec.storage.dtype(), {c.groups, m});
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t g = 0; g < c.groups; ++g) {
      scales.SetReal(scales.Index(g, r), c.scales[r * c.groups + g]);
      const int stored = (c.zeros[r * c.groups + g] + (1 << b) - offset) % (1 << b);
      qzeros.SetField(qzeros.Index(g, 0), r * b, b, stored);
    }
  }
  Cells g_idx(".g_idx", DType::kI32, {n});
  for (int64_t k = 0; k < n; ++k) g_idx.Set(k, c.GroupOf(k));
  return {qweight.tensor(), qzeros.tensor(), scales.tensor(), g_idx.tensor()};
}

// One byte for each code; int: signed, 128 lower.
std::vector<StoredTensor> PackBytes(const Coded& c, const Spec& spec) {
  const bool integer = spec.levels.affine();
  Cells weight(".weight", integer ? DType::kI8 : DType::kF8E4M3, {c.rows, c.cols});
  for (int64_t i = 0; i < c.rows * c.cols; ++i) {
    weight.Set(i, static_cast<uint64_t>(int64_t{c.codes[i]} - (integer ? 128 : 0)));
  }
  return {weight.tensor(), RowScales(c, spec)};
}

StoredTensor Nibbles(const char* suffix, const Coded& c, Shape shape, bool first_is_high) {
  Cells cells(suffix, DType::kU8, std::move(shape));
  for (int64_t i = 0; i < c.rows * c.cols; ++i) {
    const bool high = (i % 2 == 0) == first_is_high;
    for (int j = 0; j < 4; ++j) cells.SetBit(i / 2, (high ? 4 : 0) + j, (c.codes[i] >> j) & 1);
  }
  return cells.tensor();
}

StoredTensor ScaleCodes(const char* suffix, DType dtype, const Coded& c, Shape shape) {
  Cells cells(suffix, dtype, std::move(shape));
  for (int64_t i = 0; i < c.rows * c.groups; ++i) cells.Set(i, c.scale_codes[i]);
  return cells.tensor();
}

std::vector<StoredTensor> PackMxFp(const Coded& c, const Spec& spec) {
  const StoredTensor scale = ScaleCodes(".weight_scale", DType::kU8, c, {c.rows, c.cols / 32});
  if (spec.levels.bits == 4) {
    return {Nibbles(".weight_packed", c, {c.rows, c.cols / 2}, false), scale};
  }
  return {PackBytes(c, spec)[0], scale};
}

std::vector<StoredTensor> PackNvFp4(const Coded& c) {
  Cells global(".weight_global_scale", DType::kF32, {1});
  // The number with the shortest mantissa whose reciprocal is the tensor scale.
  const float scale = c.shared->tensor_scale;
  float g = 1.0f / scale;
  float down = g, up = g;
  for (int i = 0; i < 3; ++i) {
    down = std::nextafter(down, 0.0f);
    up = std::nextafter(up, HUGE_VALF);
  }
  int most = -1;
  for (float x = down; x <= up; x = std::nextafter(x, HUGE_VALF)) {
    int zeros = 0;
    while (zeros < 32 && (std::bit_cast<uint32_t>(x) >> zeros & 1) == 0) ++zeros;
    if (1.0f / x == scale && zeros > most) {
      most = zeros;
      g = x;
    }
  }
  global.SetReal(0, g);
  return {Nibbles(".weight_packed", c, {c.rows, c.cols / 2}, false),
          ScaleCodes(".weight_scale", DType::kF8E4M3, c, {c.rows, c.cols / 16}), global.tensor()};
}

StoredTensor Floats(const char* suffix, const std::vector<float>& values) {
  Cells cells(suffix, DType::kF32, {static_cast<int64_t>(values.size())});
  for (size_t i = 0; i < values.size(); ++i) cells.SetReal(i, values[i]);
  return cells.tensor();
}

StoredTensor QuantStateCells(const Coded& c, const Spec& spec, const std::string& type) {
  const bool nested = spec.storage.kind == StorageKind::kNested;
  std::string text = "{\"quant_type\": \"" + type +
                     "\", \"blocksize\": " + std::to_string(spec.partition.group_size) +
                     ", \"dtype\": \"float32\", \"shape\": [" + std::to_string(c.rows) + ", " +
                     std::to_string(c.cols) + "]";
  size_t length = text.size() + 1;
  if (nested) {
    text += ", \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", \"nested_offset\": ";
    length = text.size() + 1 + 24;
    char number[40];
    std::snprintf(number, sizeof number, "%.17g", static_cast<double>(c.shared->scale_offset));
    text += number;
    if (text.find_first_of(".e", text.size() - std::string(number).size()) == text.npos) {
      text += ".0";
    }
  }
  text += "}";
  text.append(length - text.size(), ' ');
  Cells cells(".weight.quant_state.bitsandbytes__" + type, DType::kU8,
              {static_cast<int64_t>(length)});
  for (size_t i = 0; i < length; ++i) cells.Set(i, static_cast<unsigned char>(text[i]));
  return cells.tensor();
}

std::vector<StoredTensor> PackBitsAndBytes(const Coded& c, const Spec& spec) {
  const bool nested = spec.storage.kind == StorageKind::kNested;
  const bool nf4 = spec.levels.table == FixedTable::kNf4;
  const int64_t blocks = c.rows * c.groups;
  std::vector<float> map = {-1,
                            -0.6961928009986877,
                            -0.5250730514526367,
                            -0.39491748809814453,
                            -0.28444138169288635,
                            -0.18477343022823334,
                            -0.09105003625154495,
                            0,
                            0.07958029955625534,
                            0.16093020141124725,
                            0.24611230194568634,
                            0.33791524171829224,
                            0.44070982933044434,
                            0.5626170039176941,
                            0.7229568362236023,
                            1};
  if (!nf4) {
    map = {0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3};
    for (float& v : map) v /= 12;
  }
  std::vector<StoredTensor> out = {Nibbles(".weight", c, {c.rows * c.cols / 2, 1}, true)};
  if (nested) {
    out.push_back(ScaleCodes(".weight.absmax", DType::kU8, c, {blocks}));
  } else {
    out.push_back(Floats(".weight.absmax", c.scales));
  }
  out.push_back(Floats(".weight.quant_map", map));
  out.push_back(QuantStateCells(c, spec, nf4 ? "nf4" : "fp4"));
  if (nested) {
    out.push_back(Floats(".weight.nested_absmax", c.super));
    out.push_back(Floats(".weight.nested_quant_map", NestedMap()));
  }
  return out;
}

std::vector<StoredTensor> PackSpqr(const Coded& c, const Spec& spec) {
  const int64_t m = c.rows, n = c.cols, groups = n / 16;
  // Stored columns: group after group, ascending in each.
  std::vector<int64_t> order;
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t k = 0; k < n; ++k) {
      if (c.GroupOf(k) == g) order.push_back(k);
    }
  }
  Cells dense(".dense_weights", DType::kI64, {m * groups});
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t word = (r / 16) * groups * 16 + g * 16 + r % 16;
      dense.SetField(word, 0, 3, c.scale_codes[r * groups + g]);
      dense.SetField(word, 3, 3, c.zero_codes[r * groups + g]);
      for (int64_t i = 0; i < 16; ++i) {
        dense.SetField(word, 6 + 3 * i, 3, c.codes[r * n + order[g * 16 + i]]);
      }
      const float* super = &c.super[(r / 16 * groups + g) * 4];
      uint64_t second = ToF16(super[0]);
      second |= uint64_t{ToF16(super[2])} << 16;
      second |= uint64_t{ToF16(super[1])} << 32;
      second |= uint64_t{ToF16(super[3])} << 48;
      dense.SetField(word, 54, 8, second >> (8 * (r % 16 / 2)) & 0xFF);
    }
  }
  Cells rows(".row_offsets", DType::kI32, {m + 1});
  Cells values(".col_vals", DType::kI32, {static_cast<int64_t>(c.outliers.column.size())});
  if (spec.exceptions.stores_outliers()) {
    int64_t at = 0;
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t p = 0; p < n; ++p) {
        for (int32_t i = c.outliers.begin[r]; i < c.outliers.begin[r + 1]; ++i) {
          if (c.outliers.column[i] != order[p]) continue;
          values.Set(at++, p | uint64_t{ToF16(c.outliers.value[i])} << 16);
        }
      }
      rows.Set(r + 1, at);
    }
  }
  Cells perm(".in_perm", DType::kI32, {n / 2});
  for (int64_t p = 0; p < n; ++p) perm.SetField(p / 2, 16 * (p % 2), 16, order[p]);
  return {dense.tensor(), rows.tensor(), values.tensor(), perm.tensor()};
}

// Codes from the upper half of 2^B on are stored 2^B lower.
std::vector<StoredTensor> PackAqlm(const Coded& c, const Spec& spec) {
  const Levels& l = spec.levels;
  const int64_t out_groups = c.rows / l.out_group, in_groups = c.cols / l.in_group;
  Cells codes(".codes", l.codebook_bits <= 8 ? DType::kI8 : DType::kI16,
              {out_groups, in_groups, l.codebooks});
  for (size_t i = 0; i < c.book_codes.size(); ++i) {
    int64_t value = c.book_codes[i];
    if (2 * value >= l.entries()) value -= l.entries();
    codes.Set(static_cast<int64_t>(i), static_cast<uint64_t>(value));
  }
  Cells books(".codebooks", DType::kF16, {l.codebooks, l.entries(), l.out_group, l.in_group});
  for (size_t i = 0; i < c.shared->codebooks.size(); ++i) {
    books.SetReal(static_cast<int64_t>(i), c.shared->codebooks[i]);
  }
  Cells scales(".scales", DType::kF16, {out_groups, 1, 1, 1});
  for (int64_t i = 0; i < out_groups; ++i) scales.SetReal(i, c.scales[i]);
  return {codes.tensor(), books.tensor(), scales.tensor()};
}

std::vector<StoredTensor> PackBase(const std::string& name, const Coded& coded, const Spec& spec) {
  if (name == "compressed-tensors") return PackCompressedTensors(coded, spec);
  if (name == "int-quantized" || name == "float-quantized") return PackBytes(coded, spec);
  if (name == "nvfp4-pack-quantized") return PackNvFp4(coded);
  if (name == "mxfp4-pack-quantized" || name == "mxfp8-quantized") return PackMxFp(coded, spec);
  if (name == "gptq") return PackGptq(coded, spec, 1);
  if (name == "gptq-v2") return PackGptq(coded, spec, 0);
  if (name == "bitsandbytes") return PackBitsAndBytes(coded, spec);
  if (name == "spqr") return PackSpqr(coded, spec);
  if (name == "aqlm") return PackAqlm(coded, spec);
  return PackPlain(coded, spec);
}

}  // namespace

std::vector<float> NestedMap() {
  std::vector<float> map = {0, 1};
  float decade = 1;
  for (int i = 6; i >= 0; --i) {
    const int last = 1 << i;
    const float step = (1.0f - 0.1f) / last;
    std::vector<float> points;
    for (int k = 0; k <= last; ++k) {
      points.push_back(2 * k < last ? 0.1f + step * k : 1.0f - step * (last - k));
    }
    for (int k = 0; k < last; ++k) {
      const float value = decade * ((points[k] + points[k + 1]) / 2);
      map.push_back(value);
      map.push_back(-value);
    }
    decade = static_cast<float>(std::pow(10.0, i - 7));
  }
  std::sort(map.begin(), map.end());
  return map;
}

std::vector<uint8_t> PackBits(absl::Span<const uint8_t> codes, int bits) {
  std::vector<uint8_t> stream((codes.size() * bits + 7) / 8);
  for (size_t i = 0; i < codes.size(); ++i) {
    for (int j = 0; j < bits; ++j) {
      const size_t at = i * bits + j;
      stream[at / 8] |= static_cast<uint8_t>(((codes[i] >> j) & 1) << (at % 8));
    }
  }
  return stream;
}

std::vector<uint8_t> UnpackBits(absl::Span<const uint8_t> stream, int64_t count, int bits) {
  std::vector<uint8_t> codes(count);
  for (int64_t i = 0; i < count; ++i) {
    for (int j = 0; j < bits; ++j) {
      const int64_t at = i * bits + j;
      codes[i] |= static_cast<uint8_t>(((stream[at / 8] >> (at % 8)) & 1) << j);
    }
  }
  return codes;
}

std::vector<StoredTensor> Pack(const std::string& name, const Coded& coded, const Spec& spec) {
  std::vector<StoredTensor> out = PackBase(name, coded, spec);
  if (spec.transform.scaling != ScalingKind::kNone) {
    out.push_back(Floats(".column_scale", coded.shared->column_scale));
  }
  return out;
}

}  // namespace quantd::reference
