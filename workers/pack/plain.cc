#include "workers/pack/plain.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/pack/bits.h"
#include "workers/pack/group_index.h"
#include "workers/pack/scales.h"
#include "workers/pack/storable.h"

namespace quantd {
namespace {

constexpr size_t kCodes = 0;
constexpr size_t kScales = 1;
constexpr size_t kZeros = 2;  // asymmetric only

size_t GroupIndexAt(const Spec& spec) { return spec.levels.symmetric() ? 2 : 3; }

ScaleGrid Scales(const Spec& spec, int64_t n) {
  return {spec.scale_dtype, spec.partition.GroupsPerRow(n), 1};
}

// The one zero point of a kTensor weight is written by the stripe that holds row 0 only, so that
// stripes may be packed at the same time.
void StoreZeros(const Coded& coded, std::byte* out) {
  if (coded.granularity != Granularity::kTensor) {
    std::memcpy(out + coded.row_begin * coded.groups, coded.zeros.data(),
                coded.rows * coded.groups);
  } else if (coded.row_begin == 0 && coded.rows > 0) {
    std::memcpy(out, coded.zeros.data(), 1);
  }
}

absl::Status LoadZeros(const PackedView& in, Coded* out) {
  const uint8_t* stored = reinterpret_cast<const uint8_t*>(in.bytes.data());
  if (out->granularity == Granularity::kTensor) {
    std::fill(out->zeros.begin(), out->zeros.end(), stored[0]);
  } else {
    std::memcpy(out->zeros.data(), stored + out->row_begin * out->groups, out->rows * out->groups);
  }
  for (int64_t i = 0; i < static_cast<int64_t>(out->zeros.size()); ++i) {
    if (out->zeros[i] > out->levels.max_code()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", in.decl.suffix, "': zero point of row ",
                       out->row_begin + i / out->groups, ", group ", i % out->groups, " is ",
                       int{out->zeros[i]}, ", above ", out->levels.max_code()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PlainLayout::Accepts(const Spec& spec, int64_t m, int64_t n) const {
  return CheckStorable(name(), spec, m, n);
}

std::vector<PackedDecl> PlainLayout::Declare(const Spec& spec, int64_t m, int64_t n) const {
  const bool one_scale = spec.partition.granularity == Granularity::kTensor;
  const Shape grid = one_scale ? Shape{1, 1} : Shape{m, spec.partition.GroupsPerRow(n)};
  std::vector<PackedDecl> decls = {
      {".codes", DType::kU8, {m, BitStreamBytes(n, spec.levels.bits)}},
      {".scales", spec.scale_dtype, grid},
  };
  if (!spec.levels.symmetric()) decls.push_back({".zeros", DType::kU8, grid});
  if (NeedsGroupIndex(spec, n)) decls.push_back({".g_idx", DType::kI32, {n}});
  return decls;
}

void PlainLayout::PackShared(const Spec& spec, int64_t, int64_t n,
                             absl::Span<const int32_t> group_of_column,
                             absl::Span<PackedTensor> out) const {
  if (!NeedsGroupIndex(spec, n)) return;
  StoreGroupIndex(spec, n, group_of_column, out[GroupIndexAt(spec)].bytes.data());
}

void PlainLayout::PackRows(const Coded& coded, const Spec& spec, int64_t,
                           absl::Span<PackedTensor> out) const {
  const int bits = spec.levels.bits;
  const int64_t row_bytes = BitStreamBytes(coded.cols, bits);
  uint8_t* packed = out[kCodes].bytes.As<uint8_t>().data() + coded.row_begin * row_bytes;
  for (int64_t r = 0; r < coded.rows; ++r) {
    PackBits(coded.codes.data() + r * coded.cols, coded.cols, bits, packed + r * row_bytes);
  }
  StoreScales(coded, Scales(spec, coded.cols), out[kScales].bytes.data());
  if (!spec.levels.symmetric()) StoreZeros(coded, out[kZeros].bytes.data());
}

absl::Status PlainLayout::UnpackRows(const Spec& spec, int64_t, int64_t n,
                                     absl::Span<const PackedView> in, int64_t row_begin,
                                     int64_t rows, Coded* out) const {
  out->Reshape(spec, row_begin, rows, n);
  const int bits = spec.levels.bits;
  const int64_t row_bytes = BitStreamBytes(n, bits);
  const uint8_t* packed =
      reinterpret_cast<const uint8_t*>(in[kCodes].bytes.data()) + row_begin * row_bytes;
  for (int64_t r = 0; r < rows; ++r) {
    UnpackBits(packed + r * row_bytes, n, bits, out->codes.data() + r * n);
  }
  if (spec.levels.symmetric()) {
    std::memset(out->zeros.data(), spec.levels.middle_code(), out->zeros.size());
  } else {
    QUANTD_RETURN_IF_ERROR(LoadZeros(in[kZeros], out));
  }
  if (NeedsGroupIndex(spec, n)) {
    QUANTD_RETURN_IF_ERROR(LoadGroupIndex(in[GroupIndexAt(spec)], out));
  }
  return LoadScales(in[kScales], Scales(spec, n), out);
}

}  // namespace quantd
