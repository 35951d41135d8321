// How a refusal of a spec is worded: "spec.levels.bits: nf4 has 4 bits, not 3".
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "workers/core/spec.h"

namespace quantd {

// INVALID_ARGUMENT "spec.PATH: `reason`", PATH being that of the field called `field`.
absl::Status SpecError(absl::string_view field, absl::string_view reason);

// "learned-table", "3": the value of the field called `field`, for messages.
std::string SpecValue(absl::string_view field, const Spec& spec);

}  // namespace quantd
