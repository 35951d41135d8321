// From what a caller asked for to a spec with every axis filled in.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/core/spec.h"
#include "workers/core/spec_fields.h"

namespace quantd {

// Fills in the fields that follow from others where the caller left them to the preset: the bits of
// a format with a fixed width, the fit of tables, act-order for a sweep put under another preset,
// the form of the sweep that dynamic groups, masks and cross moments need; additive levels and
// their solver, the size of their groups, the steps of an update by Adam. `given` holds the fields
// that the caller set.
void FillDependentFields(absl::Span<const SpecField* const> given, Spec* spec);

// The preset of `method` with `settings` (keys and texts of SetSpecField) on top. NOT_FOUND and
// INVALID_ARGUMENT as there; axes are not checked against each other: see CheckSpec.
absl::StatusOr<Spec> ResolveSpec(absl::string_view method,
                                 absl::Span<const std::pair<std::string, std::string>> settings);

}  // namespace quantd
