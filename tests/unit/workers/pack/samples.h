// Specs and coded weights for the tests of this room.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "workers/core/coded.h"
#include "workers/core/packed.h"
#include "workers/core/spec.h"
#include "workers/pack/layout.h"

namespace quantd {

// Symmetric min-max codes of `bits` bits in groups of `group_size` columns with F16 scales.
Spec GroupSpec(int bits, int64_t group_size);
Spec RowSpec(int bits);
Spec TensorSpec(int bits);
Spec Asymmetric(Spec spec);
// GPTQ with dynamic groups in act-order.
Spec DynamicActOrder(Spec spec);
Spec Stored(StorageKind kind, Spec spec);
Spec Minifloat(NumberFormat format, Spec spec);
// Additive levels with one F16 scale for each out group: `codebooks` of 2^bits patches of out_group
// x in_group.
Spec AdditiveSpec(int codebooks, int bits, int out_group = 1, int in_group = 8);
// One scale for each patch instead, F16 or (bits > 0) a code of `bits` bits into a table.
Spec PatchScales(Spec spec, int bits = 0);
// What layout "spqr" takes: 3 bits, groups and super groups of 16, threshold outliers.
Spec SpqrSpec();

// A whole m x n weight with random codes and parameters that the spec's storage holds exactly,
// outliers, kept columns and all else that the spec has. coded.shared stays valid until the process
// ends. group_of_column is a shuffled one where groups need an index.
Coded RandomCoded(const Spec& spec, int64_t m, int64_t n, uint32_t seed);

// A shared part that a Coded may point to: kept until the process ends.
CodedShared* NewShared(CodedShared shared);

// Rows [begin, begin + rows) of `whole`.
Coded StripeOf(const Coded& whole, int64_t begin, int64_t rows);

// [begin, end) of each stripe, as short as the layout and the partition allow.
std::vector<std::pair<int64_t, int64_t>> StripesOf(const Layout& layout, const Spec& spec,
                                                   int64_t m);

// Packs `whole` in one stripe; the combination must be accepted.
std::vector<PackedTensor> PackWhole(const Layout& layout, const Spec& spec, const Coded& whole);

// UnpackShared and UnpackRows of all rows. out->shared is the one unpacked.
absl::Status UnpackWhole(const Layout& layout, const Spec& spec, int64_t m, int64_t n,
                         absl::Span<const PackedView> in, Coded* out);

const Layout& LayoutNamed(absl::string_view name);

// The message of an INVALID_ARGUMENT; fails the test for any other status.
std::string Message(const absl::Status& status);

// The tensor of `suffix`; there must be one.
PackedTensor& TensorOf(std::vector<PackedTensor>& tensors, absl::string_view suffix);

// "0f59c8a6".
std::string Hex(absl::Span<const std::byte> bytes);
std::string Hex(const PackedTensor& tensor);

// EXPECTs that all fields agree, the shared parts included; scales are compared bit by bit.
void ExpectSameCoded(const Coded& want, const Coded& have);

}  // namespace quantd
