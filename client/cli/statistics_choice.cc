#include "client/cli/statistics_choice.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/methods/check.h"

namespace quantd::cli {
namespace {

constexpr size_t kListed = 20;  // offending tensors named in one message

const Statistic* FindRole(const std::vector<Statistic>& all, Role role) {
  for (const Statistic& statistic : all) {
    if (statistic.role == role) return &statistic;
  }
  return nullptr;
}

// What a request carries: H where there is one, else X. X also where its tokens have weights, for
// those are used while H is formed, and where it must tell the largest inputs. Beside it whatever
// the spec looks at.
std::vector<Statistic> Sent(const Spec& spec, const std::vector<Statistic>& all) {
  const Statistic* const h = FindRole(all, Role::kHessian);
  const Statistic* const x = FindRole(all, Role::kActivations);
  const Statistic* const weights = FindRole(all, Role::kTokenWeight);
  const bool weighted = x != nullptr && weights != nullptr;
  const bool ranges = x != nullptr && UsesRole(spec, Role::kChannelAbsMax) &&
                      FindRole(all, Role::kChannelAbsMax) == nullptr;
  std::vector<Statistic> sent;
  if (h != nullptr && !weighted && !ranges) {
    sent.push_back(*h);
  } else if (x != nullptr) {
    sent.push_back(*x);
    if (weighted) sent.push_back(*weights);
  }
  for (Role role : {Role::kChannelAbsMean, Role::kChannelAbsMax, Role::kFisher, Role::kCrossMoment,
                    Role::kGradient, Role::kRotationSigns}) {
    const Statistic* const found = FindRole(all, role);
    if (found != nullptr && UsesRole(spec, role)) sent.push_back(*found);
  }
  return sent;
}

// The names in a statistics file that give a role.
absl::string_view FileNames(Role role) {
  switch (role) {
    case Role::kHessian:
      return "<module>.hessian, .hessian_triangle or .activations";
    case Role::kChannelAbsMean:
      return "<module>.abs_mean";
    case Role::kChannelAbsMax:
      return "<module>.abs_max or .activations";
    case Role::kFisher:
      return "<module>.fisher";
    case Role::kCrossMoment:
      return "<module>.cross_moment";
    case Role::kGradient:
      return "<module>.gradient";
    default:
      return "<module>.rotation_signs";
  }
}

bool Holds(const std::vector<Statistic>& sent, Role role) {
  const bool from_x = role == Role::kHessian || role == Role::kChannelAbsMax;
  return FindRole(sent, role) != nullptr ||
         (from_x && FindRole(sent, Role::kActivations) != nullptr);
}

}  // namespace

std::string Listed(const std::vector<std::string>& lines) {
  std::string text;
  for (size_t i = 0; i < lines.size() && i < kListed; ++i) absl::StrAppend(&text, "\n  ", lines[i]);
  if (lines.size() > kListed)
    absl::StrAppend(&text, "\n  ... and ", lines.size() - kListed, " more");
  return text;
}

absl::StatusOr<std::map<std::string, std::vector<Statistic>>> ChooseStatistics(
    const Selection& selection, const Statistics* statistics) {
  std::map<std::string, std::vector<Statistic>> found;
  std::map<std::pair<std::string, Role>, std::vector<std::string>> missing;  // method, role
  std::vector<std::string> given;
  for (const TensorChoice& choice : selection.choices) {
    if (!choice.quantize) continue;
    std::vector<Statistic>& sent = found[choice.module];
    if (statistics != nullptr) {
      QUANTD_ASSIGN_OR_RETURN(std::vector<Statistic> all,
                              statistics->For(choice.module, choice.rows, choice.cols));
      sent = Sent(choice.spec, all);
    }
    if (choice.spec.fit.kind == FitKind::kGiven) given.push_back(choice.name);
    for (Role role : RequiredRoles(choice.spec)) {
      if (!Holds(sent, role)) missing[{choice.spec.method, role}].push_back(choice.name);
    }
  }
  if (!given.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("fit given takes CODEBOOKS and SCALES from the program that calls the "
                     "service; quantctl has "
                     "none for ",
                     given.size(), given.size() == 1 ? " weight" : " weights", Listed(given)));
  }
  if (missing.empty()) return found;
  const std::string where = statistics == nullptr ? "give --statistics FILE.safetensors"
                                                  : absl::StrCat("\"", statistics->path(),
                                                                 "\" has none for them: add them");
  std::string text;
  for (const auto& [what, weights] : missing) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", "method ", what.first, " needs ",
                    FileNames(what.second), "; ", where,
                    ", leave the weights out with --exclude, or ask for method rtn in a recipe. "
                    "Without it: ",
                    weights.size(), weights.size() == 1 ? " weight" : " weights", Listed(weights));
  }
  return absl::FailedPreconditionError(text);
}

absl::StatusOr<StatisticsKeys> KeysOf(const Statistics* statistics, const std::string& module,
                                      const std::vector<Statistic>& sent) {
  StatisticsKeys keys;
  if (sent.empty()) return keys;
  QUANTD_ASSIGN_OR_RETURN(const Digest own, statistics->OwnDigest(module));
  keys.own = own.Hex();
  const bool shares = std::any_of(sent.begin(), sent.end(), [](const Statistic& statistic) {
    return !IsOfOneWeight(statistic.role);
  });
  if (shares) {
    QUANTD_ASSIGN_OR_RETURN(const Digest shared, statistics->SharedDigest(module));
    keys.shared = shared.Hex();
  }
  for (const Statistic& statistic : sent) statistics->Release(statistic);
  return keys;
}

}  // namespace quantd::cli
