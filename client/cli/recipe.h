// A recipe: different specs for different layers, in a YAML file. docs/recipes.md is the user's
// page.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/spec_choice.h"
#include "client/files/name_pattern.h"

namespace quantd::cli {

struct RecipeRule {
  NamePattern match;  // searched for anywhere in the module path
  std::optional<bool> skip;
  SpecChoice choice;
};

struct Recipe {
  SpecChoice defaults;
  std::vector<RecipeRule> rules;

  // The choice for a module: recipe defaults, then `flags`, then every matching rule in file order.
  // nullopt when the last rule that says anything about skipping says skip. INVALID_ARGUMENT when a
  // pattern cannot be matched against the name (NamePattern::FindIn).
  absl::StatusOr<std::optional<SpecChoice>> For(const std::string& module,
                                                const SpecChoice& flags) const;
};

// INVALID_ARGUMENT as "FILE:LINE: key: what is wrong" for YAML that does not parse, unknown or
// repeated keys, values out of range and patterns that are no regular expression. `file` names it
// in messages.
absl::StatusOr<Recipe> ParseRecipe(const std::string& yaml, absl::string_view file);

// ParseRecipe of a file's content; NOT_FOUND when it cannot be read.
absl::StatusOr<Recipe> ReadRecipe(const std::string& path);

}  // namespace quantd::cli
