#include "workers/pack/mxfp.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "workers/core/spec_names.h"
#include "workers/core/status_macros.h"
#include "workers/pack/bits.h"
#include "workers/pack/column_scale.h"
#include "workers/pack/container.h"
#include "workers/pack/find_tensor.h"
#include "workers/pack/level_codes.h"
#include "workers/pack/storable.h"
#include "workers/pack/stored_scales.h"

namespace quantd {
namespace {

constexpr size_t kWeight = 0;
constexpr size_t kScale = 1;

constexpr int64_t kBlock = 32;

constexpr StorageKind kStorages[] = {StorageKind::kE8M0};
constexpr Container kContainer = {.levels = LevelKind::kMinifloat, .storages = kStorages};

}  // namespace

absl::Status MxFpLayout::Accepts(const Spec& spec, int64_t m, int64_t n) const {
  QUANTD_RETURN_IF_ERROR(CheckStorable(name(), spec, m, n));
  QUANTD_RETURN_IF_ERROR(CheckContainer(name(), spec, kContainer));
  const NumberFormat format = element_ == Element::kFp4 ? NumberFormat::kE2M1 : NumberFormat::kE4M3;
  if (spec.levels.format != format) {
    return CannotStore(name(), "format",
                       kNumberFormatNames[static_cast<size_t>(spec.levels.format)],
                       kNumberFormatNames[static_cast<size_t>(format)]);
  }
  return CheckBlocks(name(), spec, m, n, kBlock);
}

std::vector<PackedDecl> MxFpLayout::Declare(const Spec& spec, int64_t m, int64_t n) const {
  std::vector<PackedDecl> decls;
  if (element_ == Element::kFp4) {
    decls.push_back({".weight_packed", DType::kU8, {m, n / 2}});
  } else {
    decls.push_back({".weight", DType::kF8E4M3, {m, n}});
  }
  decls.push_back({".weight_scale", DType::kU8, {m, n / kBlock}});
  DeclareColumnScale(spec, n, &decls);
  return decls;
}

void MxFpLayout::PackShared(const Spec& spec, int64_t, int64_t, const CodedShared& shared,
                            absl::Span<PackedTensor> out) const {
  StoreColumnScale(spec, shared, out);
}

void MxFpLayout::PackRows(const Coded& coded, const Spec& spec, int64_t,
                          absl::Span<PackedTensor> out) const {
  const int bits = spec.levels.bits;
  // n is even, so rows of nibbles are whole bytes and the stripe is one stream.
  PackBits(
      coded.codes.data(), coded.rows * coded.cols, bits,
      out[kWeight].bytes.As<uint8_t>().data() + BitStreamBytes(coded.row_begin * coded.cols, bits));
  std::memcpy(out[kScale].bytes.data() + coded.row_begin * coded.groups, coded.scale_codes.data(),
              coded.rows * coded.groups);
}

absl::StatusOr<CodedShared> MxFpLayout::UnpackShared(const Spec& spec, int64_t, int64_t,
                                                     absl::Span<const PackedView> in) const {
  CodedShared shared;
  QUANTD_RETURN_IF_ERROR(LoadColumnScale(spec, in, &shared));
  return shared;
}

absl::Status MxFpLayout::UnpackRows(const Spec& spec, int64_t m, int64_t n,
                                    absl::Span<const PackedView> in, const CodedShared& shared,
                                    int64_t row_begin, int64_t rows, Coded* out) const {
  out->Reshape(spec, row_begin, rows, m, n, &shared);
  const int bits = spec.levels.bits;
  UnpackBits(BytesOf(in[kWeight]) + BitStreamBytes(row_begin * n, bits), rows * n, bits,
             out->codes.data());
  QUANTD_RETURN_IF_ERROR(CheckLevelCodes(in[kWeight].decl.suffix, *out));
  std::memcpy(out->scale_codes.data(), BytesOf(in[kScale]) + row_begin * out->groups,
              rows * out->groups);
  return DecodeScaleCodes(in[kScale].decl.suffix, out);
}

}  // namespace quantd
