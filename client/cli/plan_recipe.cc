#include "client/cli/plan_recipe.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace quantd::cli {
namespace {

// In single quotes nothing but the quote itself has a meaning.
std::string Quoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "''"}}), "'");
}

}  // namespace

std::string PlanRecipe(const PlanInput& input, const std::vector<PlanLayer>& layers,
                       const std::vector<int>& choice, const std::vector<std::string>& comment) {
  std::map<int, std::vector<std::string>> modules;  // by candidate
  for (size_t l = 0; l < layers.size(); ++l) {
    modules[layers[l].options[choice[l]].candidate].push_back(layers[l].name);
  }
  std::string text;
  for (const std::string& line : comment) absl::StrAppend(&text, "# ", line, "\n");
  absl::StrAppend(&text, "layout: ", input.layout->name(), "\nrules:\n");
  for (const auto& [candidate, names] : modules) {
    absl::StrAppend(&text, "  - modules:\n");
    for (const std::string& name : names) absl::StrAppend(&text, "      - ", Quoted(name), "\n");
    if (candidate == kDense) {
      absl::StrAppend(&text, "    skip: true\n");
      continue;
    }
    const SpecChoice& spec = input.candidates[candidate].choice;
    absl::StrAppend(&text, "    method: ", spec.method.value_or("rtn"), "\n");
    for (const auto& [field, value] : spec.fields) {
      absl::StrAppend(&text, "    ", field, ": ", Quoted(value), "\n");
    }
  }
  return text;
}

}  // namespace quantd::cli
