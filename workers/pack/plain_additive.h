// Additive levels in the plain layout. P = m / out_group.
//
//   .codes      U8   [P, bytes of a row]  a bit stream for each out group: B bits for each codebook
//                                         of each in group, those of one in group together
//   .codebooks  F16  [M, 2^B, out_group, in_group]
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/core/coded.h"
#include "workers/core/packed.h"
#include "workers/core/spec.h"

namespace quantd {

// OK for additive levels that fill the weight, with scales that plain holds: F16, or table where
// each patch has its own. OK for other levels unless the storage is table. INVALID_ARGUMENT
// otherwise.
absl::Status CheckPlainAdditive(absl::string_view layout, const Spec& spec, int64_t m, int64_t n);

// Nothing but these two calls writes or reads `.codes` of additive levels.
PackedDecl BookCodesDecl(const Spec& spec, int64_t m, int64_t n);
void StoreBookCodes(const Coded& coded, PackedTensor* out);

// Fills out->book_codes. Every byte string holds codes.
void LoadBookCodes(const PackedView& in, Coded* out);

// `.codebooks`, where the levels are additive.
void DeclarePlainCodebooks(const Spec& spec, std::vector<PackedDecl>* decls);
void StorePlainCodebooks(const Spec& spec, const CodedShared& shared, absl::Span<PackedTensor> out);

// INVALID_ARGUMENT as LoadCodebooks().
absl::Status LoadPlainCodebooks(const Spec& spec, absl::Span<const PackedView> in,
                                CodedShared* shared);

}  // namespace quantd
