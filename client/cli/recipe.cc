#include "client/cli/recipe.h"

#include <yaml-cpp/yaml.h>

#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/pack/layout.h"

namespace quantd::cli {
namespace {

constexpr size_t kMaxRecipeBytes = 16 << 20;  // tens of thousands of module paths

class Parser {
 public:
  explicit Parser(absl::string_view file) : file_(file) {}

  absl::StatusOr<Recipe> Parse(const YAML::Node& root) {
    Recipe recipe;
    if (root.IsNull()) return recipe;
    if (!root.IsMap())
      return Error(root, "a recipe is a map with the keys layout, defaults and rules");
    std::set<std::string> seen;
    for (const auto& entry : root) {
      QUANTD_ASSIGN_OR_RETURN(std::string key, Key(entry.first, &seen));
      if (key == "defaults") {
        QUANTD_RETURN_IF_ERROR(ParseDefaults(entry.second, &recipe.defaults));
      } else if (key == "layout") {
        QUANTD_RETURN_IF_ERROR(SetLayout(entry.second, &recipe.layout));
      } else if (key == "rules") {
        QUANTD_RETURN_IF_ERROR(ParseRules(entry.second, &recipe.rules));
      } else {
        return Error(entry.first,
                     absl::StrCat("unknown key \"", key, "\"; known: layout, defaults, rules"));
      }
    }
    return recipe;
  }

 private:
  absl::Status Error(const YAML::Node& node, absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, ":", node.Mark().line + 1, ": ", what));
  }

  absl::StatusOr<std::string> Scalar(const YAML::Node& node, absl::string_view key) const {
    if (!node.IsScalar()) return Error(node, absl::StrCat(key, ": one value is wanted here"));
    return node.Scalar();
  }

  absl::StatusOr<std::string> Key(const YAML::Node& node, std::set<std::string>* seen) const {
    if (!node.IsScalar()) return Error(node, "a key must be a plain word");
    if (!seen->insert(node.Scalar()).second) {
      return Error(node, absl::StrCat("key \"", node.Scalar(), "\" stands here twice"));
    }
    return node.Scalar();
  }

  absl::Status SetSpecField(const YAML::Node& key_node, const std::string& key,
                            const YAML::Node& value_node, absl::string_view also,
                            SpecChoice* choice) const {
    QUANTD_ASSIGN_OR_RETURN(std::string value, Scalar(value_node, key));
    absl::Status status = SetField(key, value, choice);
    if (absl::IsNotFound(status)) {
      return Error(key_node, absl::StrCat("unknown key \"", key, "\"; known: ", also, KnownKeys()));
    }
    if (!status.ok()) return Error(value_node, status.message());
    return absl::OkStatus();
  }

  absl::Status ParseDefaults(const YAML::Node& node, SpecChoice* choice) const {
    if (!node.IsMap()) return Error(node, "defaults: a map of keys and values is wanted here");
    std::set<std::string> seen;
    for (const auto& entry : node) {
      QUANTD_ASSIGN_OR_RETURN(std::string key, Key(entry.first, &seen));
      QUANTD_RETURN_IF_ERROR(SetSpecField(entry.first, key, entry.second, "", choice));
    }
    return absl::OkStatus();
  }

  absl::Status ParseRules(const YAML::Node& node, std::vector<RecipeRule>* rules) const {
    if (!node.IsSequence()) return Error(node, "rules: a list is wanted here");
    for (const YAML::Node& item : node) {
      QUANTD_ASSIGN_OR_RETURN(RecipeRule rule, ParseRule(item));
      rules->push_back(std::move(rule));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<RecipeRule> ParseRule(const YAML::Node& node) const {
    if (!node.IsMap()) {
      return Error(node, "a rule is a map with the key match or modules and what to change");
    }
    RecipeRule rule;
    std::set<std::string> seen;
    for (const auto& entry : node) {
      QUANTD_ASSIGN_OR_RETURN(std::string key, Key(entry.first, &seen));
      if (key == "match") {
        QUANTD_RETURN_IF_ERROR(SetPattern(entry.second, &rule));
      } else if (key == "modules") {
        QUANTD_RETURN_IF_ERROR(SetModules(entry.second, &rule));
      } else if (key == "skip") {
        QUANTD_ASSIGN_OR_RETURN(std::string value, Scalar(entry.second, key));
        if (value != "true" && value != "false") {
          return Error(entry.second, absl::StrCat("skip: \"", value, "\" is not true or false"));
        }
        rule.skip = value == "true";
      } else {
        QUANTD_RETURN_IF_ERROR(
            SetSpecField(entry.first, key, entry.second, "match, modules, skip, ", &rule.choice));
      }
    }
    if (seen.contains("match") == seen.contains("modules")) {
      return Error(node, "a rule needs one of the keys match and modules");
    }
    if (seen.size() == 1) {
      return Error(node, absl::StrCat("the rule ", rule.Title(), " changes nothing"));
    }
    return rule;
  }

  absl::Status SetLayout(const YAML::Node& node, std::string* layout) const {
    QUANTD_ASSIGN_OR_RETURN(*layout, Scalar(node, "layout"));
    const absl::StatusOr<const Layout*> found = FindLayout(*layout);
    return found.ok() ? absl::OkStatus() : Error(node, found.status().message());
  }

  absl::Status SetModules(const YAML::Node& node, RecipeRule* rule) const {
    if (!node.IsSequence() || node.size() == 0) {
      return Error(node, "modules: a list of module paths is wanted here");
    }
    for (const YAML::Node& item : node) {
      QUANTD_ASSIGN_OR_RETURN(std::string module, Scalar(item, "modules"));
      if (!rule->modules.insert(module).second) {
        return Error(item, absl::StrCat("modules: \"", module, "\" stands here twice"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status SetPattern(const YAML::Node& node, RecipeRule* rule) const {
    QUANTD_ASSIGN_OR_RETURN(const std::string text, Scalar(node, "match"));
    absl::StatusOr<NamePattern> pattern = NamePattern::Compile(text);
    if (!pattern.ok()) return Error(node, absl::StrCat("match: ", pattern.status().message()));
    rule->match = *std::move(pattern);
    return absl::OkStatus();
  }

  absl::string_view file_;
};

}  // namespace

absl::StatusOr<bool> RecipeRule::Speaks(const std::string& module) const {
  if (match.has_value()) return match->FindIn(module);
  return modules.contains(module);
}

std::string RecipeRule::Title() const {
  if (match.has_value()) return absl::StrCat("\"", match->text(), "\"");
  return absl::StrCat("of ", modules.size(), modules.size() == 1 ? " module" : " modules");
}

absl::StatusOr<std::optional<SpecChoice>> Recipe::For(const std::string& module,
                                                      const SpecChoice& flags) const {
  SpecChoice choice = Overlay(defaults, flags);
  bool skip = false;
  for (const RecipeRule& rule : rules) {
    QUANTD_ASSIGN_OR_RETURN(const bool speaks, rule.Speaks(module));
    if (!speaks) continue;
    skip = rule.skip.value_or(skip);
    choice = Overlay(choice, rule.choice);
  }
  if (skip) return std::optional<SpecChoice>();
  return std::optional<SpecChoice>(std::move(choice));
}

absl::StatusOr<Recipe> ParseRecipe(const std::string& yaml, absl::string_view file) {
  YAML::Node root;
  try {
    root = YAML::Load(yaml);
    return Parser(file).Parse(root);
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(file, ":", e.mark.line + 1, ": ", e.msg));
  }
}

absl::StatusOr<Recipe> ReadRecipe(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    return absl::NotFoundError(absl::StrCat("--recipe: cannot read \"", path, "\""));
  }
  if (text.str().size() > kMaxRecipeBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("--recipe: \"", path, "\" is longer than 16 MiB"));
  }
  return ParseRecipe(text.str(), path);
}

}  // namespace quantd::cli
