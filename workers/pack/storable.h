// What every layout asks of a spec and a shape before its own rules.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "workers/core/spec.h"

namespace quantd {

// OK if every axis of the spec is named, in range and resolved (no adaptive axis), its bits fit its
// kind of levels, and the m x n weight is small enough that no size computed from it overflows.
// INVALID_ARGUMENT naming axis, value and range otherwise.
absl::Status CheckStorable(absl::string_view layout, const Spec& spec, int64_t m, int64_t n);

// "layout 'gptq' cannot store bits = 5: it takes 2, 3, 4 or 8".
absl::Status CannotStore(absl::string_view layout, absl::string_view axis, absl::string_view value,
                         absl::string_view takes);

// True if the solver may put columns into groups that are not runs of neighbours, so that only a
// group index per column says which scale belongs to a code: dynamic groups along rows, in an order
// other than the natural one, and more than one group per row.
bool NeedsGroupIndex(const Spec& spec, int64_t n);

}  // namespace quantd
