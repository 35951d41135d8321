// A recipe: different specs for different layers, in a YAML file. docs/recipes.md is the user's
// page.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/spec_choice.h"
#include "client/files/name_pattern.h"

namespace quantd::cli {

struct RecipeRule {
  // One of the two: a pattern, searched for anywhere in the module path, or whole module paths.
  std::optional<NamePattern> match;
  absl::flat_hash_set<std::string> modules;
  std::optional<bool> skip;
  SpecChoice choice;

  // INVALID_ARGUMENT when the pattern cannot be matched against the name (NamePattern::FindIn).
  absl::StatusOr<bool> Speaks(const std::string& module) const;
  std::string Title() const;  // "\"o_proj$\"" or "of 12 modules", for messages
};

struct Recipe {
  std::string layout;  // empty: the first that can hold the defaults
  SpecChoice defaults;
  std::vector<RecipeRule> rules;

  // The choice for a module: recipe defaults, then `flags`, then every matching rule in file order.
  // nullopt when the last rule that says anything about skipping says skip. Errors of
  // RecipeRule::Speaks.
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
