#include "workers/pack/aqlm.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/pack/codebooks.h"
#include "workers/pack/column_scale.h"
#include "workers/pack/container.h"
#include "workers/pack/param_rows.h"
#include "workers/pack/scales.h"
#include "workers/pack/storable.h"

namespace quantd {
namespace {

constexpr size_t kCodes = 0;
constexpr size_t kCodebooks = 1;
constexpr size_t kScales = 2;

constexpr StorageKind kStorages[] = {StorageKind::kF16};
constexpr Container kContainer = {.levels = LevelKind::kAdditive,
                                  .storages = kStorages,
                                  .storage_reason = ", because its readers compute in F16"};

constexpr ScaleGrid kScaleGrid = {DType::kF16, 1, 1};

bool TwoBytes(const Levels& levels) { return levels.codebook_bits > 8; }

int64_t CodesOfRow(const Coded& coded) {
  return coded.cols / coded.levels.in_group * coded.levels.codebooks;
}

// The upper half of the codes is stored 2^B lower, so that a signed type of B bits or more holds
// all of them.
template <typename Stored>
void StoreCodes(const Coded& coded, Stored* out) {
  const int bits = coded.levels.codebook_bits;
  const int half = 1 << (bits - 1), wrap = 1 << bits;
  for (size_t i = 0; i < coded.book_codes.size(); ++i) {
    const int code = coded.book_codes[i];
    out[i] = static_cast<Stored>(code < half ? code : code - wrap);
  }
}

absl::Status BadCode(const PackedView& in, const Coded& coded, int64_t at, int value) {
  const Levels& levels = coded.levels;
  const int64_t groups = coded.cols / levels.in_group;
  const int64_t patch = at / levels.codebooks;
  const int half = 1 << (levels.codebook_bits - 1);
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor '", in.decl.suffix, "': code of out group ", FirstParamRow(coded) + patch / groups,
      ", in group ", patch % groups, ", codebook ", at % levels.codebooks, " is ", value,
      ", expected ", -half, " to ", half - 1));
}

template <typename Stored>
absl::Status LoadCodes(const PackedView& in, int64_t first, Coded* out) {
  const int bits = out->levels.codebook_bits;
  const int half = 1 << (bits - 1), wrap = 1 << bits;
  const std::byte* bytes = in.bytes.data() + first * sizeof(Stored);
  for (int64_t i = 0; i < static_cast<int64_t>(out->book_codes.size()); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes + i * sizeof stored, sizeof stored);
    if (stored < -half || stored >= half) return BadCode(in, *out, i, stored);
    out->book_codes[i] = static_cast<uint16_t>(stored < 0 ? stored + wrap : stored);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AqlmLayout::Accepts(const Spec& spec, int64_t m, int64_t n) const {
  QUANTD_RETURN_IF_ERROR(CheckStorable(name(), spec, m, n));
  QUANTD_RETURN_IF_ERROR(CheckContainer(name(), spec, kContainer));
  if (spec.partition.granularity != Granularity::kRow) {
    return CannotStore(name(), "granularity", GranularityName(spec.partition.granularity),
                       "row, one scale for each out group; layout 'plain' can hold one for each "
                       "patch");
  }
  return CheckAdditive(name(), spec, m, n);
}

std::vector<PackedDecl> AqlmLayout::Declare(const Spec& spec, int64_t m, int64_t n) const {
  const Levels& levels = spec.levels;
  const int64_t out_groups = m / levels.out_group;
  std::vector<PackedDecl> decls = {
      {".codes",
       TwoBytes(levels) ? DType::kI16 : DType::kI8,
       {out_groups, n / levels.in_group, levels.codebooks}},
      CodebooksDecl(levels),
      {".scales", DType::kF16, {out_groups, 1, 1, 1}},
  };
  DeclareColumnScale(spec, n, &decls);
  return decls;
}

int64_t AqlmLayout::StripeGranule(const Spec& spec) const {
  return AdditiveStripeGranule(spec.levels);
}

void AqlmLayout::PackShared(const Spec& spec, int64_t, int64_t, const CodedShared& shared,
                            absl::Span<PackedTensor> out) const {
  StoreCodebooks(shared.codebooks, &out[kCodebooks]);
  StoreColumnScale(spec, shared, out);
}

void AqlmLayout::PackRows(const Coded& coded, const Spec&, int64_t,
                          absl::Span<PackedTensor> out) const {
  const int64_t first = FirstParamRow(coded) * CodesOfRow(coded);
  if (TwoBytes(coded.levels)) {
    StoreCodes(coded, out[kCodes].bytes.As<int16_t>().data() + first);
  } else {
    StoreCodes(coded, out[kCodes].bytes.As<int8_t>().data() + first);
  }
  StoreScales(coded, kScaleGrid, out[kScales].bytes.data());
}

absl::StatusOr<CodedShared> AqlmLayout::UnpackShared(const Spec& spec, int64_t, int64_t,
                                                     absl::Span<const PackedView> in) const {
  CodedShared shared;
  QUANTD_RETURN_IF_ERROR(LoadCodebooks(spec.levels, in[kCodebooks], &shared.codebooks));
  QUANTD_RETURN_IF_ERROR(LoadColumnScale(spec, in, &shared));
  return shared;
}

absl::Status AqlmLayout::UnpackRows(const Spec& spec, int64_t m, int64_t n,
                                    absl::Span<const PackedView> in, const CodedShared& shared,
                                    int64_t row_begin, int64_t rows, Coded* out) const {
  out->Reshape(spec, row_begin, rows, m, n, &shared);
  const int64_t first = FirstParamRow(*out) * CodesOfRow(*out);
  if (TwoBytes(spec.levels)) {
    QUANTD_RETURN_IF_ERROR(LoadCodes<int16_t>(in[kCodes], first, out));
  } else {
    QUANTD_RETURN_IF_ERROR(LoadCodes<int8_t>(in[kCodes], first, out));
  }
  return LoadScales(in[kScales], kScaleGrid, out);
}

}  // namespace quantd
