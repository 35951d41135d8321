#include "tests/reference/pack_reference.h"

#include <bit>

#include "workers/core/float16.h"

namespace quantd::reference {
namespace {

// One tensor under construction or inspection, addressed by element and bit.
class Cells {
 public:
  Cells(const char* suffix, DType dtype, Shape shape) {
    tensor_.decl = {suffix, dtype, shape};
    size_t bytes = DTypeBytes(dtype);
    for (int64_t d : shape) bytes *= d;
    tensor_.bytes.resize(bytes);
  }
  explicit Cells(const StoredTensor& tensor) : tensor_(tensor) {}

  const StoredTensor& tensor() const { return tensor_; }

  int64_t Index(int64_t i, int64_t j) const { return i * tensor_.decl.shape[1] + j; }

  // Bit `bit` (0 = least significant) of element `element`.
  bool Bit(int64_t element, int bit) const {
    const size_t byte = element * DTypeBytes(tensor_.decl.dtype) + bit / 8;
    return (std::to_integer<int>(tensor_.bytes[byte]) >> (bit % 8)) & 1;
  }
  void SetBit(int64_t element, int bit, bool value) {
    const size_t byte = element * DTypeBytes(tensor_.decl.dtype) + bit / 8;
    const std::byte mask{static_cast<unsigned char>(1 << (bit % 8))};
    tensor_.bytes[byte] = value ? tensor_.bytes[byte] | mask : tensor_.bytes[byte] & ~mask;
  }

  uint64_t Get(int64_t element) const {
    uint64_t value = 0;
    for (int bit = 0; bit < Bits(); ++bit) value |= uint64_t{Bit(element, bit)} << bit;
    return value;
  }
  void Set(int64_t element, uint64_t value) {
    for (int bit = 0; bit < Bits(); ++bit) SetBit(element, bit, (value >> bit) & 1);
  }

  float GetReal(int64_t element) const {
    const uint64_t stored = Get(element);
    switch (tensor_.decl.dtype) {
      case DType::kF16:
        return FromF16(static_cast<uint16_t>(stored));
      case DType::kBF16:
        return FromBF16(static_cast<uint16_t>(stored));
      default:
        return std::bit_cast<float>(static_cast<uint32_t>(stored));
    }
  }
  void SetReal(int64_t element, float value) {
    switch (tensor_.decl.dtype) {
      case DType::kF16:
        return Set(element, ToF16(value));
      case DType::kBF16:
        return Set(element, ToBF16(value));
      default:
        return Set(element, std::bit_cast<uint32_t>(value));
    }
  }

 private:
  int Bits() const { return 8 * static_cast<int>(DTypeBytes(tensor_.decl.dtype)); }

  StoredTensor tensor_;
};

// Element and bit of bit `bit` of field `field` in a stream of `bits`-bit fields cut into elements
// of `element_bits`.
struct Place {
  int64_t element;
  int bit;
};
Place PlaceOf(int64_t field, int bits, int bit, int element_bits) {
  const int64_t at = field * bits + bit;
  return {at / element_bits, static_cast<int>(at % element_bits)};
}

int64_t Words(int64_t fields, int bits) { return (fields * bits + 31) / 32; }

bool IsTensorWide(const Spec& spec) { return spec.partition.granularity == Granularity::kTensor; }

bool PlainHasIndex(const Spec& spec, int64_t n) {
  return spec.solve.solver == Solver::kGptq && spec.solve.timing == GroupTiming::kDynamic &&
         spec.solve.order != Order::kNatural && spec.partition.GroupsPerRow(n) > 1;
}

std::vector<StoredTensor> PackCompressedTensors(const Coded& c, const Spec& spec) {
  const int b = spec.levels.bits;
  const int64_t m = c.rows, n = c.cols;
  Cells packed(".weight_packed", DType::kI32, {m, Words(n, b)});
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t k = 0; k < n; ++k) {
      for (int j = 0; j < b; ++j) {
        const Place p = PlaceOf(k, b, j, 32);
        packed.SetBit(packed.Index(r, p.element), p.bit, (c.codes[r * n + k] >> j) & 1);
      }
    }
  }
  Cells scale(".weight_scale", spec.scale_dtype,
              IsTensorWide(spec) ? Shape{1} : Shape{m, c.groups});
  if (IsTensorWide(spec)) {
    scale.SetReal(0, c.scales[0]);
  } else {
    for (int64_t i = 0; i < m * c.groups; ++i) scale.SetReal(i, c.scales[i]);
  }
  Cells shape(".weight_shape", DType::kI64, {2});
  shape.Set(0, m);
  shape.Set(1, n);
  std::vector<StoredTensor> out = {packed.tensor(), scale.tensor(), shape.tensor()};
  if (!spec.levels.symmetric()) {
    Cells zero(".weight_zero_point", DType::kI32, {Words(m, b), c.groups});
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t g = 0; g < c.groups; ++g) {
        for (int j = 0; j < b; ++j) {
          const Place p = PlaceOf(r, b, j, 32);
          zero.SetBit(zero.Index(p.element, g), p.bit, (c.zeros[r * c.groups + g] >> j) & 1);
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
        const Place p = PlaceOf(k, b, j, 32);
        qweight.SetBit(qweight.Index(p.element, r), p.bit, (c.codes[r * n + k] >> j) & 1);
      }
    }
  }
  Cells qzeros(".qzeros", DType::kI32, {c.groups, Words(m, b)});
  Cells scales(".scales", spec.scale_dtype, {c.groups, m});
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t g = 0; g < c.groups; ++g) {
      scales.SetReal(scales.Index(g, r), c.scales[r * c.groups + g]);
      const int stored = (c.zeros[r * c.groups + g] + (1 << b) - offset) % (1 << b);
      for (int j = 0; j < b; ++j) {
        const Place p = PlaceOf(r, b, j, 32);
        qzeros.SetBit(qzeros.Index(g, p.element), p.bit, (stored >> j) & 1);
      }
    }
  }
  Cells g_idx(".g_idx", DType::kI32, {n});
  for (int64_t k = 0; k < n; ++k) g_idx.Set(k, c.GroupOf(k));
  return {qweight.tensor(), qzeros.tensor(), scales.tensor(), g_idx.tensor()};
}

std::vector<StoredTensor> PackPlain(const Coded& c, const Spec& spec) {
  const int b = spec.levels.bits;
  const int64_t m = c.rows, n = c.cols;
  Cells codes(".codes", DType::kU8, {m, (n * b + 7) / 8});
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t k = 0; k < n; ++k) {
      for (int j = 0; j < b; ++j) {
        const Place p = PlaceOf(k, b, j, 8);
        codes.SetBit(codes.Index(r, p.element), p.bit, (c.codes[r * n + k] >> j) & 1);
      }
    }
  }
  const Shape grid = IsTensorWide(spec) ? Shape{1, 1} : Shape{m, c.groups};
  Cells scales(".scales", spec.scale_dtype, grid);
  Cells zeros(".zeros", DType::kU8, grid);
  for (int64_t i = 0; i < grid[0] * grid[1]; ++i) {
    scales.SetReal(i, c.scales[i]);
    zeros.Set(i, c.zeros[i]);
  }
  std::vector<StoredTensor> out = {codes.tensor(), scales.tensor()};
  if (!spec.levels.symmetric()) out.push_back(zeros.tensor());
  if (PlainHasIndex(spec, n)) {
    Cells g_idx(".g_idx", DType::kI32, {n});
    for (int64_t k = 0; k < n; ++k) g_idx.Set(k, c.GroupOf(k));
    out.push_back(g_idx.tensor());
  }
  return out;
}

// The field that starts `field` fields into a row or column of words, whose element `i` is at(i).
template <typename At>
uint8_t ReadField(const Cells& cells, int64_t field, int bits, int element_bits, At at) {
  int value = 0;
  for (int j = 0; j < bits; ++j) {
    const Place p = PlaceOf(field, bits, j, element_bits);
    value |= cells.Bit(at(p.element), p.bit) << j;
  }
  return static_cast<uint8_t>(value);
}

void UnpackCompressedTensors(absl::Span<const StoredTensor> in, int64_t m, Coded* c) {
  const int b = c->levels.bits;
  const Cells packed(in[0]), scale(in[1]), zero(in.back());  // zero: asymmetric only
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t k = 0; k < c->cols; ++k) {
      c->codes[r * c->cols + k] =
          ReadField(packed, k, b, 32, [&](int64_t w) { return packed.Index(r, w); });
    }
    for (int64_t g = 0; g < c->groups; ++g) {
      const int64_t at = r * c->groups + g;
      c->scales[at] = scale.GetReal(c->granularity == Granularity::kTensor ? 0 : at);
      c->zeros[at] = static_cast<uint8_t>(c->levels.middle_code());
      if (!c->levels.symmetric()) {
        c->zeros[at] = ReadField(zero, r, b, 32, [&](int64_t w) { return zero.Index(w, g); });
      }
    }
  }
}

void ReadIndex(const StoredTensor& in, Coded* c) {
  const Cells g_idx(in);
  c->group_of_column.resize(c->cols);
  for (int64_t k = 0; k < c->cols; ++k) {
    c->group_of_column[k] = static_cast<int32_t>(g_idx.Get(k));
  }
}

void UnpackGptq(absl::Span<const StoredTensor> in, int64_t m, int offset, Coded* c) {
  const int b = c->levels.bits;
  const Cells qweight(in[0]), qzeros(in[1]), scales(in[2]);
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t k = 0; k < c->cols; ++k) {
      c->codes[r * c->cols + k] =
          ReadField(qweight, k, b, 32, [&](int64_t w) { return qweight.Index(w, r); });
    }
    for (int64_t g = 0; g < c->groups; ++g) {
      const int stored = ReadField(qzeros, r, b, 32, [&](int64_t w) { return qzeros.Index(g, w); });
      c->zeros[r * c->groups + g] = static_cast<uint8_t>((stored + offset) % (1 << b));
      c->scales[r * c->groups + g] = scales.GetReal(scales.Index(g, r));
    }
  }
  ReadIndex(in[3], c);
}

void UnpackPlain(absl::Span<const StoredTensor> in, const Spec& spec, int64_t m, Coded* c) {
  const int b = c->levels.bits;
  const bool symmetric = spec.levels.symmetric();
  const Cells codes(in[0]), scales(in[1]), zeros(in[symmetric ? 1 : 2]);  // zeros: asymmetric only
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t k = 0; k < c->cols; ++k) {
      c->codes[r * c->cols + k] =
          ReadField(codes, k, b, 8, [&](int64_t w) { return codes.Index(r, w); });
    }
    for (int64_t g = 0; g < c->groups; ++g) {
      const int64_t at = r * c->groups + g;
      const int64_t stored = c->granularity == Granularity::kTensor ? 0 : at;
      c->scales[at] = scales.GetReal(stored);
      c->zeros[at] = static_cast<uint8_t>(symmetric ? c->levels.middle_code() : zeros.Get(stored));
    }
  }
  if (PlainHasIndex(spec, c->cols)) ReadIndex(in.back(), c);
}

}  // namespace

std::vector<uint8_t> PackBits(absl::Span<const uint8_t> codes, int bits) {
  std::vector<uint8_t> stream((codes.size() * bits + 7) / 8);
  for (size_t i = 0; i < codes.size(); ++i) {
    for (int j = 0; j < bits; ++j) {
      const Place p = PlaceOf(i, bits, j, 8);
      stream[p.element] |= static_cast<uint8_t>(((codes[i] >> j) & 1) << p.bit);
    }
  }
  return stream;
}

std::vector<uint8_t> UnpackBits(absl::Span<const uint8_t> stream, int64_t count, int bits) {
  std::vector<uint8_t> codes(count);
  for (int64_t i = 0; i < count; ++i) {
    for (int j = 0; j < bits; ++j) {
      const Place p = PlaceOf(i, bits, j, 8);
      codes[i] |= static_cast<uint8_t>(((stream[p.element] >> p.bit) & 1) << j);
    }
  }
  return codes;
}

std::vector<StoredTensor> Pack(const std::string& name, const Coded& coded, const Spec& spec) {
  if (name == "compressed-tensors") return PackCompressedTensors(coded, spec);
  if (name == "gptq") return PackGptq(coded, spec, 1);
  if (name == "gptq-v2") return PackGptq(coded, spec, 0);
  return PackPlain(coded, spec);
}

Coded Unpack(const std::string& name, const Spec& spec, int64_t m, int64_t n,
             absl::Span<const StoredTensor> tensors) {
  Coded coded;
  coded.Reshape(spec, 0, m, n);
  if (name == "compressed-tensors") {
    UnpackCompressedTensors(tensors, m, &coded);
  } else if (name == "gptq" || name == "gptq-v2") {
    UnpackGptq(tensors, m, name == "gptq" ? 1 : 0, &coded);
  } else {
    UnpackPlain(tensors, spec, m, &coded);
  }
  return coded;
}

}  // namespace quantd::reference
