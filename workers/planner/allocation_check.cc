#include "workers/planner/allocation_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/planner/layer_classes.h"

namespace quantd {
namespace {

// Sums of whole numbers below it are exact in double.
constexpr uint64_t kMostWhole = uint64_t{1} << 53;

bool IsNumber(double value) { return std::isfinite(value) && value >= 0; }

template <typename... Words>
absl::Status Wrong(const PlanLayer& layer, const Words&... words) {
  return absl::InvalidArgumentError(absl::StrCat("layer '", layer.name, "' ", words...));
}

absl::Status CheckOption(const AllocationProblem& problem, const PlanLayer& layer,
                         const LayerOption& option) {
  if (option.candidate < kDense ||
      option.candidate >= static_cast<int>(problem.candidates.size())) {
    return Wrong(layer, "has candidate number ", option.candidate, ", but there are ",
                 problem.candidates.size());
  }
  const std::string name = CandidateName(problem, option.candidate);
  if (!IsNumber(option.error)) {
    return Wrong(layer, "has an error of ", option.error, " with ", name,
                 ": it must be finite and not negative");
  }
  if (option.candidate != kDense &&
      (option.block < 1 || static_cast<uint64_t>(option.block) >= kMostWhole)) {
    return Wrong(layer, "has ", option.block, " weights a scale with ", name,
                 ": there must be 1 to 2^53");
  }
  if (option.bytes >= kMostWhole) {
    return Wrong(layer, "takes ", option.bytes, " bytes with ", name, ": they must be below 2^53");
  }
  return absl::OkStatus();
}

absl::Status CheckLayer(const AllocationProblem& problem, const PlanLayer& layer) {
  if (layer.parameters == 0 || layer.parameters >= kMostWhole) {
    return Wrong(layer, "has ", layer.parameters,
                 " parameters: there must be 1 or more, and below 2^53");
  }
  if (!IsNumber(layer.sensitivity)) {
    return Wrong(layer, "has a sensitivity of ", layer.sensitivity,
                 ": it must be finite and not negative");
  }
  if (layer.options.empty()) return Wrong(layer, "has no candidate");
  std::vector<int> seen;
  for (const LayerOption& option : layer.options) {
    QUANTD_RETURN_IF_ERROR(CheckOption(problem, layer, option));
    seen.push_back(option.candidate);
  }
  std::sort(seen.begin(), seen.end());
  const auto twice = std::adjacent_find(seen.begin(), seen.end());
  if (twice == seen.end()) return absl::OkStatus();
  return Wrong(layer, "has candidate ", CandidateName(problem, *twice), " more than once");
}

uint64_t MostBytes(const PlanLayer& layer) {
  uint64_t most = 0;
  for (const LayerOption& option : layer.options) most = std::max(most, option.bytes);
  return most;
}

}  // namespace

absl::Status CheckSets(const std::vector<std::vector<int>>& sets, absl::string_view what,
                       size_t least, size_t layers) {
  for (size_t s = 0; s < sets.size(); ++s) {
    if (sets[s].size() < least) {
      return absl::InvalidArgumentError(absl::StrCat(what, "[", s, "] holds ", sets[s].size(),
                                                     " layers: there must be ", least, " or more"));
    }
    for (const int member : sets[s]) {
      if (member < 0 || static_cast<size_t>(member) >= layers) {
        return absl::InvalidArgumentError(
            absl::StrCat(what, "[", s, "] names layer ", member, ", but there are ", layers));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLayers(const AllocationProblem& problem) {
  if (problem.layers.empty()) return absl::InvalidArgumentError("there are no layers to plan");
  uint64_t parameters = 0, bytes = 0;
  for (const PlanLayer& layer : problem.layers) {
    QUANTD_RETURN_IF_ERROR(problem.limits.Check());
    QUANTD_RETURN_IF_ERROR(CheckLayer(problem, layer));
    parameters += layer.parameters;
    bytes += MostBytes(layer);
    if (parameters >= kMostWhole || bytes >= kMostWhole) {
      return absl::InvalidArgumentError("the layers' parameters or bytes add up to 2^53 or more");
    }
  }
  return CheckSets(problem.same, "same", 2, problem.layers.size());
}

absl::Status CheckGoal(const PlanGoal& goal) {
  switch (goal.kind) {
    case GoalKind::kBytes:
      return absl::OkStatus();
    case GoalKind::kError:
      if (IsNumber(goal.error)) return absl::OkStatus();
      return absl::InvalidArgumentError(absl::StrCat("the goal is an error of ", goal.error,
                                                     ": it must be finite and not negative"));
    case GoalKind::kLowShare:
      if (goal.low_share >= 0 && goal.low_share <= 1) return absl::OkStatus();
      return absl::InvalidArgumentError(
          absl::StrCat("the goal is a Q_r of ", goal.low_share, ": it must be within 0..1"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the kind of goal is ", static_cast<int>(goal.kind), ", which is none"));
}

}  // namespace quantd
