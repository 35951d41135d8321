#include "workers/pack/plain_shared.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "workers/core/spec_counts.h"
#include "workers/core/status_macros.h"
#include "workers/pack/find_tensor.h"
#include "workers/pack/group_index.h"
#include "workers/pack/storable.h"

namespace quantd {
namespace {

bool HasTensorScale(const Spec& spec) {
  return spec.levels.scaled() && spec.storage.kind == StorageKind::kE4M3;
}
bool HasOffset(const Spec& spec) {
  return spec.levels.scaled() && spec.storage.kind == StorageKind::kNested;
}
bool RotatesOutputs(const Spec& spec) { return spec.transform.rotation == RotationKind::kBoth; }
bool RotatesInputs(const Spec& spec) {
  return spec.transform.rotation == RotationKind::kInput || RotatesOutputs(spec);
}

absl::Status LoadNumber(const PackedView& in, float* number) {
  std::memcpy(number, in.bytes.data(), sizeof *number);
  if (std::isfinite(*number)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensor '", in.decl.suffix, "' is ", *number, ", not a finite number"));
}

absl::Status LoadColumnBits(const Spec& spec, int64_t n, const PackedView& in,
                            std::vector<uint8_t>* bits) {
  bits->assign(BytesOf(in), BytesOf(in) + n);
  const int low = spec.levels.bits, high = spec.allocation.high_bits;
  for (int64_t k = 0; k < n; ++k) {
    if ((*bits)[k] != low && (*bits)[k] != high) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", in.decl.suffix, "': column ", k,
                                                     " has ", int{(*bits)[k]}, " bits, not ", low,
                                                     " or ", high));
    }
  }
  const int64_t wanted = HighBitColumns(spec.allocation, n);
  const int64_t have = std::count(bits->begin(), bits->end(), static_cast<uint8_t>(high));
  if (low != high && have != wanted) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", in.decl.suffix, "': ", have,
                                                   " columns have ", high, " bits, not ", wanted));
  }
  return absl::OkStatus();
}

void StoreSigns(const std::vector<int8_t>& signs, PackedTensor* out) {
  std::memcpy(out->bytes.data(), signs.data(), signs.size());
}

absl::Status LoadSigns(const PackedView& in, std::vector<int8_t>* signs) {
  signs->resize(in.bytes.size());
  std::memcpy(signs->data(), in.bytes.data(), in.bytes.size());
  for (size_t i = 0; i < signs->size(); ++i) {
    if ((*signs)[i] != 1 && (*signs)[i] != -1) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", in.decl.suffix, "': sign ", i,
                                                     " is ", int{(*signs)[i]}, ", not 1 or -1"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void DeclareShared(const Spec& spec, int64_t m, int64_t n, std::vector<PackedDecl>* decls) {
  if (NeedsGroupIndex(spec, n)) decls->push_back({".g_idx", DType::kI32, {n}});
  if (HasTensorScale(spec)) decls->push_back({".tensor_scale", DType::kF32, {1}});
  if (HasOffset(spec)) decls->push_back({".scale_offset", DType::kF32, {1}});
  if (spec.allocation.by_column()) decls->push_back({".column_bits", DType::kU8, {n}});
  if (RotatesInputs(spec)) decls->push_back({".input_signs", DType::kI8, {n}});
  if (RotatesOutputs(spec)) decls->push_back({".output_signs", DType::kI8, {m}});
}

void StoreShared(const Spec& spec, int64_t n, const CodedShared& shared,
                 absl::Span<PackedTensor> out) {
  if (NeedsGroupIndex(spec, n)) {
    StoreGroupIndex(spec, n, shared.group_of_column, Named(out, ".g_idx").bytes.data());
  }
  if (HasTensorScale(spec)) {
    Named(out, ".tensor_scale").bytes.As<float>()[0] = shared.tensor_scale;
  }
  if (HasOffset(spec)) Named(out, ".scale_offset").bytes.As<float>()[0] = shared.scale_offset;
  if (spec.allocation.by_column()) {
    std::memcpy(Named(out, ".column_bits").bytes.data(), shared.column_bits.data(),
                shared.column_bits.size());
  }
  if (RotatesInputs(spec)) StoreSigns(shared.input_signs, &Named(out, ".input_signs"));
  if (RotatesOutputs(spec)) StoreSigns(shared.output_signs, &Named(out, ".output_signs"));
}

absl::Status LoadShared(const Spec& spec, int64_t n, absl::Span<const PackedView> in,
                        CodedShared* shared) {
  if (NeedsGroupIndex(spec, n)) {
    QUANTD_RETURN_IF_ERROR(LoadGroupIndex(Named(in, ".g_idx"), spec, n, &shared->group_of_column));
  }
  if (HasTensorScale(spec)) {
    QUANTD_RETURN_IF_ERROR(LoadNumber(Named(in, ".tensor_scale"), &shared->tensor_scale));
  }
  if (HasOffset(spec)) {
    QUANTD_RETURN_IF_ERROR(LoadNumber(Named(in, ".scale_offset"), &shared->scale_offset));
  }
  if (spec.allocation.by_column()) {
    QUANTD_RETURN_IF_ERROR(
        LoadColumnBits(spec, n, Named(in, ".column_bits"), &shared->column_bits));
  }
  if (RotatesInputs(spec)) {
    QUANTD_RETURN_IF_ERROR(LoadSigns(Named(in, ".input_signs"), &shared->input_signs));
  }
  if (!RotatesOutputs(spec)) return absl::OkStatus();
  return LoadSigns(Named(in, ".output_signs"), &shared->output_signs);
}

}  // namespace quantd
