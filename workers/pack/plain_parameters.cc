#include "workers/pack/plain_parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "workers/core/float16.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/pack/bits.h"
#include "workers/pack/find_tensor.h"
#include "workers/pack/param_rows.h"
#include "workers/pack/scales.h"
#include "workers/pack/stored_scales.h"

namespace quantd {
namespace {

constexpr int kByteBits = 8;
constexpr int64_t kSecondLevel = 4;  // numbers of a super group in Coded::super

bool HasZeros(const Levels& levels) { return !levels.symmetric() && !levels.real_zero(); }

bool IsInt(const Spec& spec) { return spec.storage.kind == StorageKind::kInt; }

bool IsTable(const Spec& spec) { return spec.storage.kind == StorageKind::kTable; }

bool HasZeroCodes(const Spec& spec) { return IsInt(spec) && spec.levels.real_zero(); }

bool HasRealZeros(const Spec& spec) { return !IsInt(spec) && spec.levels.real_zero(); }

// dtype of scales and real zeros that are no codes.
DType RealType(const Storage& storage) { return storage.coded() ? DType::kF16 : storage.dtype(); }

// Numbers of a super group that are stored: without real zeros only those of the scales.
int64_t StoredSuper(const Levels& levels) { return levels.real_zero() ? 4 : 2; }

int ScaleCodeBits(const Spec& spec) {
  return IsInt(spec) || IsTable(spec) ? spec.storage.bits : kByteBits;
}

// Codes of `bits` bits [param_rows, groups]: a bit stream for each row of the grid.
void StoreGrid(const std::vector<uint8_t>& values, int bits, const Coded& coded,
               PackedTensor* out) {
  const int64_t row_bytes = BitStreamBytes(coded.groups, bits);
  ForStoredRows(coded, [&](int64_t stored, int64_t p) {
    PackBits(values.data() + p * coded.groups, coded.groups, bits,
             out->bytes.As<uint8_t>().data() + stored * row_bytes);
  });
}

void LoadGrid(const PackedView& in, int bits, const Coded& coded, std::vector<uint8_t>* values) {
  const int64_t row_bytes = BitStreamBytes(coded.groups, bits);
  ForLoadedRows(coded, [&](int64_t stored, int64_t p) {
    UnpackBits(BytesOf(in) + stored * row_bytes, coded.groups, bits,
               values->data() + p * coded.groups);
  });
}

absl::Status CheckZeros(const PackedView& in, const Coded& coded) {
  for (int64_t i = 0; i < static_cast<int64_t>(coded.zeros.size()); ++i) {
    if (coded.zeros[i] > coded.levels.max_code()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor '", in.decl.suffix, "': zero point of row ",
          coded.row_begin + i / coded.groups * coded.group_rows, ", group ", i % coded.groups,
          " is ", int{coded.zeros[i]}, ", above ", coded.levels.max_code()));
    }
  }
  return absl::OkStatus();
}

void StoreNested(const Coded& coded, PackedTensor* out) {
  const int64_t first = FirstParamRow(coded) * coded.groups / kNestedRun;
  std::memcpy(out->bytes.As<float>().data() + first, coded.super.data(),
              coded.super.size() * sizeof(float));
}

void LoadNested(const PackedView& in, Coded* out) {
  const int64_t first = FirstParamRow(*out) * out->groups / kNestedRun;
  std::memcpy(out->super.data(), BytesOf(in) + first * sizeof(float),
              out->super.size() * sizeof(float));
}

// Super groups before those of the stripe.
int64_t FirstSuperGroup(const Coded& coded) {
  return FirstParamRow(coded) / coded.storage.super_group * coded.groups;
}

void StoreSuper(const Coded& coded, PackedTensor* out) {
  const int64_t width = StoredSuper(coded.levels);
  uint16_t* stored = out->bytes.As<uint16_t>().data() + FirstSuperGroup(coded) * width;
  for (size_t i = 0; i < coded.super.size() / kSecondLevel; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      stored[i * width + j] = ToF16(coded.super[i * kSecondLevel + j]);
    }
  }
}

void LoadSuper(const PackedView& in, Coded* out) {
  const int64_t width = StoredSuper(out->levels);
  const uint8_t* stored = BytesOf(in) + FirstSuperGroup(*out) * width * sizeof(uint16_t);
  for (size_t i = 0; i < out->super.size() / kSecondLevel; ++i) {
    float* numbers = &out->super[i * kSecondLevel];
    // What stands where nothing is stored: zeros that are their codes.
    numbers[2] = 1.0f;
    numbers[3] = 0.0f;
    for (int64_t j = 0; j < width; ++j) {
      uint16_t half;
      std::memcpy(&half, stored + (i * width + j) * sizeof half, sizeof half);
      numbers[j] = FromF16(half);
    }
  }
}

// Tables of scales lie as they are, a row of the grid after the other.
void StoreScaleTables(const Coded& coded, PackedTensor* out) {
  uint16_t* stored =
      out->bytes.As<uint16_t>().data() + (FirstParamRow(coded) << coded.storage.bits);
  for (size_t i = 0; i < coded.super.size(); ++i) stored[i] = ToF16(coded.super[i]);
}

void LoadScaleTables(const PackedView& in, Coded* out) {
  const uint8_t* stored =
      BytesOf(in) + (FirstParamRow(*out) << out->storage.bits) * sizeof(uint16_t);
  for (size_t i = 0; i < out->super.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, stored + i * sizeof half, sizeof half);
    out->super[i] = FromF16(half);
  }
}

absl::Status CheckSuper(const PackedView& in, const Coded& coded) {
  for (const float number : coded.super) {
    if (!std::isfinite(number)) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", in.decl.suffix, "' has ", number,
                                                     " for rows from ", coded.row_begin,
                                                     ", not a finite number"));
    }
  }
  return absl::OkStatus();
}

absl::Status LoadSecondLevel(const Spec& spec, absl::Span<const PackedView> in, Coded* out) {
  const PackedView& super = Named(in, ".super");
  if (IsInt(spec)) {
    LoadSuper(super, out);
  } else if (IsTable(spec)) {
    LoadScaleTables(super, out);
  } else {
    LoadNested(super, out);
  }
  return CheckSuper(super, *out);
}

bool HasSuper(const Spec& spec) {
  return IsInt(spec) || IsTable(spec) || spec.storage.kind == StorageKind::kNested;
}

}  // namespace

void DeclareParameters(const Spec& spec, int64_t m, int64_t n, std::vector<PackedDecl>* decls) {
  if (!spec.levels.scaled()) return;
  const ParamGrid grid = StoredGrid(spec, m, n);
  const Shape numbers = {grid.rows, grid.groups};
  const Shape codes = {grid.rows, BitStreamBytes(grid.groups, ScaleCodeBits(spec))};
  if (spec.storage.coded()) {
    decls->push_back({".scale_codes", DType::kU8, codes});
  } else {
    decls->push_back({".scales", spec.storage.dtype(), numbers});
  }
  if (HasZeros(spec.levels)) decls->push_back({".zeros", DType::kU8, numbers});
  if (HasRealZeros(spec)) decls->push_back({".real_zeros", RealType(spec.storage), numbers});
  if (HasZeroCodes(spec)) decls->push_back({".zero_codes", DType::kU8, codes});
  if (IsInt(spec)) {
    decls->push_back(
        {".super",
         DType::kF16,
         {CeilDiv(grid.rows, spec.storage.super_group), grid.groups, StoredSuper(spec.levels)}});
  }
  if (IsTable(spec)) {
    decls->push_back({".super", DType::kF16, {grid.rows, int64_t{1} << spec.storage.bits}});
  }
  if (spec.storage.kind == StorageKind::kNested) {
    decls->push_back({".super", DType::kF32, {CeilDiv(grid.rows * grid.groups, kNestedRun)}});
  }
}

void StoreParameters(const Spec& spec, const Coded& coded, absl::Span<PackedTensor> out) {
  if (!spec.levels.scaled()) return;
  const ScaleGrid grid = {RealType(spec.storage), coded.groups, 1};
  if (spec.storage.coded()) {
    StoreGrid(coded.scale_codes, ScaleCodeBits(spec), coded, &Named(out, ".scale_codes"));
  } else {
    StoreScales(coded, grid, Named(out, ".scales").bytes.data());
  }
  if (HasZeros(spec.levels)) StoreGrid(coded.zeros, kByteBits, coded, &Named(out, ".zeros"));
  if (HasRealZeros(spec)) {
    StoreReals(coded.real_zeros, coded, grid, Named(out, ".real_zeros").bytes.data());
  }
  if (HasZeroCodes(spec)) {
    StoreGrid(coded.zero_codes, ScaleCodeBits(spec), coded, &Named(out, ".zero_codes"));
  }
  if (IsInt(spec)) StoreSuper(coded, &Named(out, ".super"));
  if (IsTable(spec)) StoreScaleTables(coded, &Named(out, ".super"));
  if (spec.storage.kind == StorageKind::kNested) StoreNested(coded, &Named(out, ".super"));
}

absl::Status LoadParameters(const Spec& spec, absl::Span<const PackedView> in, Coded* out) {
  if (!spec.levels.scaled()) return absl::OkStatus();
  const ScaleGrid grid = {RealType(spec.storage), out->groups, 1};
  if (HasZeros(spec.levels)) {
    const PackedView& zeros = Named(in, ".zeros");
    LoadGrid(zeros, kByteBits, *out, &out->zeros);
    QUANTD_RETURN_IF_ERROR(CheckZeros(zeros, *out));
  } else if (!out->zeros.empty()) {
    std::memset(out->zeros.data(), out->levels.middle_code(), out->zeros.size());
  }
  if (HasRealZeros(spec)) {
    QUANTD_RETURN_IF_ERROR(
        LoadReals(Named(in, ".real_zeros"), grid, "zero", *out, &out->real_zeros));
  }
  if (HasZeroCodes(spec)) {
    LoadGrid(Named(in, ".zero_codes"), ScaleCodeBits(spec), *out, &out->zero_codes);
  } else {
    std::fill(out->zero_codes.begin(), out->zero_codes.end(), uint8_t{0});
  }
  if (HasSuper(spec)) QUANTD_RETURN_IF_ERROR(LoadSecondLevel(spec, in, out));
  if (!spec.storage.coded()) return LoadScales(Named(in, ".scales"), grid, out);
  LoadGrid(Named(in, ".scale_codes"), ScaleCodeBits(spec), *out, &out->scale_codes);
  return DecodeScaleCodes(".scale_codes", out);
}

}  // namespace quantd
