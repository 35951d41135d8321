#include "workers/pack/nvfp4.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "workers/core/spec_names.h"
#include "workers/core/status_macros.h"
#include "workers/pack/bits.h"
#include "workers/pack/column_scale.h"
#include "workers/pack/container.h"
#include "workers/pack/find_tensor.h"
#include "workers/pack/storable.h"
#include "workers/pack/stored_scales.h"

namespace quantd {
namespace {

constexpr size_t kWeight = 0;
constexpr size_t kScale = 1;
constexpr size_t kGlobalScale = 2;

constexpr int64_t kBlock = 16;

constexpr StorageKind kStorages[] = {StorageKind::kE4M3};
constexpr Container kContainer = {.levels = LevelKind::kMinifloat, .storages = kStorages};

// Readers divide by the stored number, so it is the reciprocal of the tensor scale. The rounded
// reciprocal and its two neighbours are the only numbers whose reciprocals may round back to the
// scale; of several the one with the shortest mantissa is taken. A tensor scale that is a rounded
// reciprocal itself always comes back.
float GlobalScaleOf(float tensor_scale) {
  const float nearest = 1.0f / tensor_scale;
  float best = nearest;
  int best_zeros = -1;
  for (const float end : {0.0f, nearest, std::numeric_limits<float>::infinity()}) {
    const float candidate = std::nextafter(nearest, end);
    const int zeros = std::countr_zero(std::bit_cast<uint32_t>(candidate));
    if (1.0f / candidate == tensor_scale && zeros > best_zeros) {
      best = candidate;
      best_zeros = zeros;
    }
  }
  return best;
}

}  // namespace

absl::Status NvFp4Layout::Accepts(const Spec& spec, int64_t m, int64_t n) const {
  QUANTD_RETURN_IF_ERROR(CheckStorable(name(), spec, m, n));
  QUANTD_RETURN_IF_ERROR(CheckContainer(name(), spec, kContainer));
  if (spec.levels.format != NumberFormat::kE2M1) {
    return CannotStore(name(), "format",
                       kNumberFormatNames[static_cast<size_t>(spec.levels.format)], "e2m1");
  }
  return CheckBlocks(name(), spec, m, n, kBlock);
}

std::vector<PackedDecl> NvFp4Layout::Declare(const Spec& spec, int64_t m, int64_t n) const {
  std::vector<PackedDecl> decls = {
      {".weight_packed", DType::kU8, {m, n / 2}},
      {".weight_scale", DType::kF8E4M3, {m, n / kBlock}},
      {".weight_global_scale", DType::kF32, {1}},
  };
  DeclareColumnScale(spec, n, &decls);
  return decls;
}

void NvFp4Layout::PackShared(const Spec& spec, int64_t, int64_t, const CodedShared& shared,
                             absl::Span<PackedTensor> out) const {
  out[kGlobalScale].bytes.As<float>()[0] = GlobalScaleOf(shared.tensor_scale);
  StoreColumnScale(spec, shared, out);
}

void NvFp4Layout::PackRows(const Coded& coded, const Spec& spec, int64_t,
                           absl::Span<PackedTensor> out) const {
  const int bits = spec.levels.bits;
  // n is even, so rows of nibbles are whole bytes and the stripe is one stream.
  PackBits(
      coded.codes.data(), coded.rows * coded.cols, bits,
      out[kWeight].bytes.As<uint8_t>().data() + BitStreamBytes(coded.row_begin * coded.cols, bits));
  std::memcpy(out[kScale].bytes.data() + coded.row_begin * coded.groups, coded.scale_codes.data(),
              coded.rows * coded.groups);
}

absl::StatusOr<CodedShared> NvFp4Layout::UnpackShared(const Spec& spec, int64_t, int64_t,
                                                      absl::Span<const PackedView> in) const {
  CodedShared shared;
  float global_scale;
  std::memcpy(&global_scale, in[kGlobalScale].bytes.data(), sizeof global_scale);
  shared.tensor_scale = 1.0f / global_scale;
  if (!std::isfinite(global_scale) || !std::isfinite(shared.tensor_scale)) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", in[kGlobalScale].decl.suffix,
                                                   "' is ", global_scale,
                                                   ", which has no finite reciprocal"));
  }
  QUANTD_RETURN_IF_ERROR(LoadColumnScale(spec, in, &shared));
  return shared;
}

absl::Status NvFp4Layout::UnpackRows(const Spec& spec, int64_t m, int64_t n,
                                     absl::Span<const PackedView> in, const CodedShared& shared,
                                     int64_t row_begin, int64_t rows, Coded* out) const {
  out->Reshape(spec, row_begin, rows, m, n, &shared);
  const int bits = spec.levels.bits;
  UnpackBits(BytesOf(in[kWeight]) + BitStreamBytes(row_begin * n, bits), rows * n, bits,
             out->codes.data());
  std::memcpy(out->scale_codes.data(), BytesOf(in[kScale]) + row_begin * out->groups,
              rows * out->groups);
  return DecodeScaleCodes(in[kScale].decl.suffix, out);
}

}  // namespace quantd
