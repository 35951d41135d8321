// Specs and coded weights for the tests of this room.
#pragma once

#include <cstdint>
#include <string>
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

// A whole m x n weight with random codes, scales of both signs that spec.scale_dtype holds exactly,
// and random zeros if the spec is asymmetric. group_of_column is a shuffled one where groups need
// an index.
Coded RandomCoded(const Spec& spec, int64_t m, int64_t n, uint32_t seed);

// Rows [begin, begin + rows) of `whole`.
Coded StripeOf(const Coded& whole, int64_t begin, int64_t rows);

// Packs `whole` in one stripe; the combination must be accepted.
std::vector<PackedTensor> PackWhole(const Layout& layout, const Spec& spec, const Coded& whole);

const Layout& LayoutNamed(absl::string_view name);

// "0f59c8a6".
std::string Hex(absl::Span<const std::byte> bytes);
std::string Hex(const PackedTensor& tensor);

// EXPECTs that all fields agree; scales are compared bit by bit.
void ExpectSameCoded(const Coded& want, const Coded& have);

}  // namespace quantd
