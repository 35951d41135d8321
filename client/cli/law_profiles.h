// Scaling laws by name: the ones that come with quantctl (scaling_laws.yaml), and those of a file
// of the same form.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "workers/planner/law_fit.h"
#include "workers/planner/scaling_law.h"

namespace quantd::cli {

// The first of the built-in ones.
inline constexpr char kDefaultLaw[] = "qwen1.5-mxint4-pooled";

// INVALID_ARGUMENT as "FILE:LINE: key: what is wrong" for YAML that does not parse, keys that are
// unknown, missing or repeated, numbers out of range, two profiles of one name.
absl::StatusOr<std::vector<LawProfile>> ParseLawProfiles(const std::string& yaml,
                                                         absl::string_view file);

// The built-in profiles, then those of `path` unless it is empty; one of the file with a built-in
// name takes its place.
absl::StatusOr<std::vector<LawProfile>> LoadLawProfiles(const std::string& path);

// INVALID_ARGUMENT listing the names.
absl::StatusOr<LawProfile> FindLawProfile(const std::vector<LawProfile>& profiles,
                                          absl::string_view name);

// A fit as an entry for such a file.
std::string LawProfileYaml(const std::string& name, const std::string& provenance,
                           const LawFit& fit);

}  // namespace quantd::cli
