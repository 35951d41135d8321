#include "workers/pack/plain_additive.h"

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/pack/bits.h"
#include "workers/pack/codebooks.h"
#include "workers/pack/find_tensor.h"
#include "workers/pack/param_rows.h"
#include "workers/pack/storable.h"

namespace quantd {
namespace {

constexpr absl::string_view kCodebooks = ".codebooks";

int64_t CodesOfRow(const Levels& levels, int64_t n) {
  return n / levels.in_group * levels.codebooks;
}

}  // namespace

absl::Status CheckPlainAdditive(absl::string_view layout, const Spec& spec, int64_t m, int64_t n) {
  const StorageKind kind = spec.storage.kind;
  const bool table = kind == StorageKind::kTable;
  if (!spec.levels.additive()) {
    return table ? CannotStore(layout, "storage", "table", "tables of scales for additive levels")
                 : absl::OkStatus();
  }
  QUANTD_RETURN_IF_ERROR(CheckAdditive(layout, spec, m, n));
  if (table && spec.partition.granularity != Granularity::kGroup) {
    return CannotStore(layout, "storage", "table", "tables of scales where each patch has its own");
  }
  if (table || kind == StorageKind::kF16) return absl::OkStatus();
  return CannotStore(layout, "storage", StorageKindName(kind), "f16 or table for additive levels");
}

PackedDecl BookCodesDecl(const Spec& spec, int64_t m, int64_t n) {
  const Levels& levels = spec.levels;
  return {".codes",
          DType::kU8,
          {m / levels.out_group, BitStreamBytes(CodesOfRow(levels, n), levels.codebook_bits)}};
}

void StoreBookCodes(const Coded& coded, PackedTensor* out) {
  const int bits = coded.levels.codebook_bits;
  const int64_t codes = CodesOfRow(coded.levels, coded.cols);
  const int64_t row_bytes = BitStreamBytes(codes, bits);
  uint8_t* packed = out->bytes.As<uint8_t>().data() + FirstParamRow(coded) * row_bytes;
  for (int64_t p = 0; p < coded.param_rows; ++p, packed += row_bytes) {
    PackWideBits(coded.book_codes.data() + p * codes, codes, bits, packed);
  }
}

void LoadBookCodes(const PackedView& in, Coded* out) {
  const int bits = out->levels.codebook_bits;
  const int64_t codes = CodesOfRow(out->levels, out->cols);
  const int64_t row_bytes = BitStreamBytes(codes, bits);
  const uint8_t* packed = BytesOf(in) + FirstParamRow(*out) * row_bytes;
  for (int64_t p = 0; p < out->param_rows; ++p, packed += row_bytes) {
    UnpackWideBits(packed, codes, bits, out->book_codes.data() + p * codes);
  }
}

void DeclarePlainCodebooks(const Spec& spec, std::vector<PackedDecl>* decls) {
  if (spec.levels.additive()) decls->push_back(CodebooksDecl(spec.levels));
}

void StorePlainCodebooks(const Spec& spec, const CodedShared& shared,
                         absl::Span<PackedTensor> out) {
  if (spec.levels.additive()) StoreCodebooks(shared.codebooks, &Named(out, kCodebooks));
}

absl::Status LoadPlainCodebooks(const Spec& spec, absl::Span<const PackedView> in,
                                CodedShared* shared) {
  if (!spec.levels.additive()) return absl::OkStatus();
  return LoadCodebooks(spec.levels, Named(in, kCodebooks), &shared->codebooks);
}

}  // namespace quantd
