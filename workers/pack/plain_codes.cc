#include "workers/pack/plain_codes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "workers/core/shape.h"
#include "workers/core/spec_counts.h"
#include "workers/core/status_macros.h"
#include "workers/linalg/cluster_word.h"
#include "workers/pack/bits.h"
#include "workers/pack/find_tensor.h"
#include "workers/pack/level_codes.h"
#include "workers/pack/plain_additive.h"

namespace quantd {
namespace {

constexpr absl::string_view kCodes = ".codes";
constexpr int64_t kClusterWeights = 3;

int64_t RowBytes(const Spec& spec, int64_t n) {
  if (spec.levels.kind == LevelKind::kCluster) {
    return BitStreamBytes(CeilDiv(n, kClusterWeights), kClusterBits);
  }
  if (spec.allocation.by_column()) {
    const int64_t high = HighBitColumns(spec.allocation, n);
    return CeilDiv((n - high) * spec.levels.bits + high * spec.allocation.high_bits, 8);
  }
  return BitStreamBytes(n, spec.levels.bits);
}

void PackMixedRow(const uint8_t* codes, const std::vector<uint8_t>& bits, uint8_t* out) {
  uint32_t waiting = 0;
  int count = 0;
  for (size_t k = 0; k < bits.size(); ++k) {
    waiting |= (codes[k] & ((1u << bits[k]) - 1)) << count;
    count += bits[k];
    if (count >= 8) {
      *out++ = static_cast<uint8_t>(waiting);
      waiting >>= 8;
      count -= 8;
    }
  }
  if (count > 0) *out = static_cast<uint8_t>(waiting);
}

void UnpackMixedRow(const uint8_t* in, const std::vector<uint8_t>& bits, uint8_t* codes) {
  uint32_t waiting = 0;
  int count = 0;
  for (size_t k = 0; k < bits.size(); ++k) {
    if (count < bits[k]) {
      waiting |= uint32_t{*in++} << count;
      count += 8;
    }
    codes[k] = static_cast<uint8_t>(waiting & ((1u << bits[k]) - 1));
    waiting >>= bits[k];
    count -= bits[k];
  }
}

// Words of a row; the last cluster is filled up with code 0.
void ClusterWords(const uint8_t* codes, int64_t n, std::vector<uint8_t>* words) {
  words->resize(CeilDiv(n, kClusterWeights));
  const int64_t whole = n / kClusterWeights;
  for (int64_t c = 0; c < whole; ++c) (*words)[c] = ClusterWord(codes + c * kClusterWeights);
  if (n % kClusterWeights != 0) {
    uint8_t last[kClusterWeights] = {};
    std::copy(codes + whole * kClusterWeights, codes + n, last);
    (*words)[whole] = ClusterWord(last);
  }
}

// The word that ends a row holds `count` < 3 weights. True if packing them again gives them back.
bool TailComesBack(const uint8_t codes[kClusterWeights], int64_t count) {
  uint8_t again[kClusterWeights] = {};
  std::copy(codes, codes + count, again);
  ClusterCodes(ClusterWord(again), again);
  return std::equal(codes, codes + count, again);
}

absl::Status UnpackClusterRow(const uint8_t* in, int64_t row, int64_t n,
                              std::vector<uint8_t>* words, uint8_t* codes) {
  words->resize(CeilDiv(n, kClusterWeights));
  UnpackBits(in, words->size(), kClusterBits, words->data());
  for (int64_t c = 0; c < static_cast<int64_t>(words->size()); ++c) {
    const uint8_t word = (*words)[c];
    uint8_t three[kClusterWeights];
    ClusterCodes(word, three);
    const int64_t count = std::min(kClusterWeights, n - c * kClusterWeights);
    if (word >= kClusterWords || (count < kClusterWeights && !TailComesBack(three, count))) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", kCodes, "': cluster ", c,
                                                     " of row ", row, " holds ", int{word},
                                                     ", which stands for no ", count, " weights"));
    }
    std::copy(three, three + count, codes + c * kClusterWeights);
  }
  return absl::OkStatus();
}

}  // namespace

void DeclareCodes(const Spec& spec, int64_t m, int64_t n, std::vector<PackedDecl>* decls) {
  decls->push_back(spec.levels.additive()
                       ? BookCodesDecl(spec, m, n)
                       : PackedDecl{std::string(kCodes), DType::kU8, {m, RowBytes(spec, n)}});
}

void StoreCodes(const Spec& spec, const Coded& coded, absl::Span<PackedTensor> out) {
  if (spec.levels.additive()) return StoreBookCodes(coded, &Named(out, kCodes));
  const int64_t n = coded.cols, row_bytes = RowBytes(spec, n);
  uint8_t* packed = Named(out, kCodes).bytes.As<uint8_t>().data() + coded.row_begin * row_bytes;
  std::vector<uint8_t> words;
  for (int64_t r = 0; r < coded.rows; ++r, packed += row_bytes) {
    const uint8_t* codes = coded.codes.data() + r * n;
    if (spec.levels.kind == LevelKind::kCluster) {
      ClusterWords(codes, n, &words);
      PackBits(words.data(), words.size(), kClusterBits, packed);
    } else if (spec.allocation.by_column()) {
      PackMixedRow(codes, coded.shared->column_bits, packed);
    } else {
      PackBits(codes, n, spec.levels.bits, packed);
    }
  }
}

absl::Status LoadCodes(const Spec& spec, absl::Span<const PackedView> in, Coded* out) {
  if (spec.levels.additive()) {
    LoadBookCodes(Named(in, kCodes), out);
    return absl::OkStatus();
  }
  const int64_t n = out->cols, row_bytes = RowBytes(spec, n);
  const uint8_t* packed = BytesOf(Named(in, kCodes)) + out->row_begin * row_bytes;
  std::vector<uint8_t> words;
  for (int64_t r = 0; r < out->rows; ++r, packed += row_bytes) {
    uint8_t* codes = out->codes.data() + r * n;
    if (spec.levels.kind == LevelKind::kCluster) {
      QUANTD_RETURN_IF_ERROR(UnpackClusterRow(packed, out->row_begin + r, n, &words, codes));
    } else if (spec.allocation.by_column()) {
      UnpackMixedRow(packed, out->shared->column_bits, codes);
    } else {
      UnpackBits(packed, n, spec.levels.bits, codes);
    }
  }
  return CheckLevelCodes(kCodes, *out);
}

}  // namespace quantd
