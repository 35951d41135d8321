// What layouts of additive levels share: the rules that a spec and a shape must meet, and the
// codebooks of the weight.
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

// OK if the patches of an additive `spec`, which passed CheckStorable(), fill an m x n weight and
// its scales are one for each out group (granularity row) or one for each patch (granularity group,
// group_size = in_group, axis out). INVALID_ARGUMENT naming axis, value and what is taken
// otherwise.
absl::Status CheckAdditive(absl::string_view layout, const Spec& spec, int64_t m, int64_t n);

// Stripes of whole out groups: the least common multiple of Layout::kStripeGranule and out_group.
int64_t AdditiveStripeGranule(const Levels& levels);

// `.codebooks` F16 [M, 2^B, out_group, in_group].
PackedDecl CodebooksDecl(const Levels& levels);

void StoreCodebooks(const std::vector<float>& codebooks, PackedTensor* out);

// Inverse. INVALID_ARGUMENT naming codebook and entry for a number that is not finite.
absl::Status LoadCodebooks(const Levels& levels, const PackedView& in,
                           std::vector<float>* codebooks);

}  // namespace quantd
