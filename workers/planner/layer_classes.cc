#include "workers/planner/layer_classes.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "workers/core/status_macros.h"
#include "workers/planner/plan_totals.h"

namespace quantd {
namespace {

constexpr int kNamedLayers = 8;  // in a message

// The root of `member`, with the path to it halved.
int RootOf(int member, std::vector<int>* parent) {
  while ((*parent)[member] != member) {
    (*parent)[member] = (*parent)[(*parent)[member]];
    member = (*parent)[member];
  }
  return member;
}

bool Disjoint(const PlanLayer& a, const PlanLayer& b) {
  return std::none_of(a.options.begin(), a.options.end(), [&](const LayerOption& option) {
    return OptionOf(b, option.candidate) >= 0;
  });
}

// Of a class's layers, which have nothing in common: two of them that cannot agree, or all up to
// the one that rules out the last candidate.
std::vector<int> AtOdds(const AllocationProblem& problem, const std::vector<int>& layers) {
  std::vector<LayerOption> common = problem.layers[layers.front()].options;
  for (size_t i = 1; i < layers.size() && !problem.limits.stopped(); ++i) {
    const PlanLayer& layer = problem.layers[layers[i]];
    std::erase_if(common,
                  [&](const LayerOption& option) { return OptionOf(layer, option.candidate) < 0; });
    if (!common.empty()) continue;
    for (size_t j = 0; j < i && !problem.limits.stopped(); ++j) {
      if (Disjoint(problem.layers[layers[j]], layer)) return {layers[j], layers[i]};
    }
    return {layers.begin(), layers.begin() + static_cast<std::ptrdiff_t>(i) + 1};
  }
  return layers;
}

// "layers 'a' and 'b' must agree and have no candidate in common: 'a' has X, Y; 'b' has Z".
absl::Status NothingInCommon(const AllocationProblem& problem, const std::vector<int>& layers) {
  const size_t named = std::min<size_t>(layers.size(), kNamedLayers);
  std::vector<std::string> names, holdings;
  for (size_t i = 0; i < named; ++i) {
    const PlanLayer& layer = problem.layers[layers[i]];
    names.push_back(absl::StrCat("'", layer.name, "'"));
    holdings.push_back(absl::StrCat(
        names.back(), " has ",
        absl::StrJoin(layer.options, ", ", [&](std::string* out, const LayerOption& option) {
          out->append(CandidateName(problem, option.candidate));
        })));
  }
  std::string last = names.back();
  names.pop_back();
  if (named < layers.size()) {
    names.push_back(std::move(last));
    last = absl::StrCat(layers.size() - named, " more");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("layers ", absl::StrJoin(names, ", "), " and ", last,
                   " must agree and have no candidate in common: ", absl::StrJoin(holdings, "; ")));
}

// The options that all layers of the class have; some of them once the limits' token is set.
std::vector<ClassOption> OptionsOf(const AllocationProblem& problem, const LayerClass& of,
                                   const std::vector<double>& weights) {
  std::vector<ClassOption> options;
  for (const LayerOption& first : problem.layers[of.layers.front()].options) {
    ClassOption option;
    option.candidate = first.candidate;
    bool everywhere = true;
    for (const int l : of.layers) {
      if (problem.limits.stopped()) return options;
      const PlanLayer& layer = problem.layers[l];
      const int index = OptionOf(layer, first.candidate);
      everywhere = index >= 0;
      if (!everywhere) break;
      option.bytes += layer.options[index].bytes;
      option.error += weights[l] * layer.options[index].error;
    }
    if (everywhere) options.push_back(option);
  }
  return options;
}

}  // namespace

std::vector<std::vector<int>> JoinedSets(int count, const std::vector<std::vector<int>>& sets,
                                         const KnapsackLimits& limits) {
  std::vector<int> parent(count);
  std::iota(parent.begin(), parent.end(), 0);
  for (const std::vector<int>& set : sets) {
    for (const int member : set) {
      if (limits.stopped()) return {};
      const int a = RootOf(set.front(), &parent), b = RootOf(member, &parent);
      // The first member stays the root, so that sets come in the order of their first members.
      parent[std::max(a, b)] = std::min(a, b);
    }
  }
  std::vector<std::vector<int>> joined;
  std::vector<int> place(count);
  for (int i = 0; i < count; ++i) {
    const int root = RootOf(i, &parent);
    if (root == i) {
      place[i] = static_cast<int>(joined.size());
      joined.emplace_back();
    }
    joined[place[root]].push_back(i);
  }
  return joined;
}

absl::StatusOr<std::vector<LayerClass>> ClassesOf(const AllocationProblem& problem) {
  const std::vector<double> weights = ErrorWeights(problem.layers);
  std::vector<LayerClass> classes;
  for (std::vector<int>& layers :
       JoinedSets(static_cast<int>(problem.layers.size()), problem.same, problem.limits)) {
    LayerClass of;
    of.layers = std::move(layers);
    for (const int l : of.layers) of.parameters += problem.layers[l].parameters;
    of.options = OptionsOf(problem, of, weights);
    const std::vector<int> at_odds =
        of.options.empty() ? AtOdds(problem, of.layers) : std::vector<int>();
    QUANTD_RETURN_IF_ERROR(problem.limits.Check());
    if (!at_odds.empty()) return NothingInCommon(problem, at_odds);
    classes.push_back(std::move(of));
  }
  QUANTD_RETURN_IF_ERROR(problem.limits.Check());
  return classes;
}

std::vector<int> ChoiceOf(const AllocationProblem& problem, const std::vector<LayerClass>& classes,
                          const std::vector<int>& candidate_of_class) {
  std::vector<int> choice(problem.layers.size());
  for (size_t c = 0; c < classes.size(); ++c) {
    for (const int l : classes[c].layers) {
      choice[l] = OptionOf(problem.layers[l], candidate_of_class[c]);
    }
  }
  return choice;
}

int OptionOf(const PlanLayer& layer, int candidate) {
  for (size_t i = 0; i < layer.options.size(); ++i) {
    if (layer.options[i].candidate == candidate) return static_cast<int>(i);
  }
  return -1;
}

std::string CandidateName(const AllocationProblem& problem, int candidate) {
  return candidate == kDense ? "dense" : problem.candidates[candidate];
}

}  // namespace quantd
