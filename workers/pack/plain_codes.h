// `.codes` of the plain layout: each row a bit stream of its own that begins on a byte.
//
//   usual         code k in bits [k b, (k + 1) b)
//   cluster       seven bits for each three codes (linalg/cluster_word.h)
//   column bits   code k takes CodedShared::column_bits[k] bits, one after the other
//   additive      a stream for each out group: plain_additive.h
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "workers/core/coded.h"
#include "workers/core/packed.h"
#include "workers/core/spec.h"

namespace quantd {

// `.codes` U8 [m, bytes of a row]; additive: [m / out_group, bytes of a row].
void DeclareCodes(const Spec& spec, int64_t m, int64_t n, std::vector<PackedDecl>* decls);

void StoreCodes(const Spec& spec, const Coded& coded, absl::Span<PackedTensor> out);

// Fills out->codes; *out->shared comes from UnpackShared(). INVALID_ARGUMENT for a word or code
// that no packer writes.
absl::Status LoadCodes(const Spec& spec, absl::Span<const PackedView> in, Coded* out);

}  // namespace quantd
