#include "client/cli/plan_law.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/law_profiles.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

constexpr double kBlocks[] = {16, 32, 64, 128, 256};
constexpr int kCurvePoints = 50;

double BillionsOf(const PlanInput& input, const PlanFlags& flags) {
  return flags.billions.value_or(static_cast<double>(input.parameters()) / 1e9);
}

}  // namespace

absl::StatusOr<LawProfile> LoadLaw(const PlanFlags& flags) {
  QUANTD_ASSIGN_OR_RETURN(const std::vector<LawProfile> profiles, LoadLawProfiles(flags.profiles));
  return FindLawProfile(profiles, flags.law);
}

absl::StatusOr<double> LowShareWithin(const PlanInput& input, const PlanFlags& flags,
                                      const LawProfile& profile,
                                      std::vector<std::string>* warnings) {
  if (input.candidates.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max-loss: a scaling law speaks of one format, and there are ",
                     input.candidates.size(), " candidates; name one with --candidates"));
  }
  const auto largest = std::max_element(
      input.layers.begin(), input.layers.end(),
      [](const InputLayer& a, const InputLayer& b) { return a.parameters() < b.parameters(); });
  LawQuestion question;
  question.billions = BillionsOf(input, flags);
  question.block =
      static_cast<double>(BlockOf(input.candidates.front().spec, largest->rows, largest->cols));
  question.delta = flags.max_loss;
  QUANTD_ASSIGN_OR_RETURN(const LawAnswer answer, AskLaw(profile, question));
  if (!answer.warnings.empty() && !flags.extrapolate) {
    return absl::OutOfRangeError(absl::StrCat(
        "--max-loss: law ", profile.name, ": ", absl::StrJoin(answer.warnings, "; "),
        ". --extrapolate takes its word all the same, --parameters names another N, --qr needs no "
        "law"));
  }
  warnings->insert(warnings->end(), answer.warnings.begin(), answer.warnings.end());
  return answer.low_share;
}

void AddLawCurves(const PlanInput& input, const PlanFlags& flags, const LawProfile& profile,
                  PlanPage* page) {
  const auto* law = std::get_if<ScalingLaw>(&profile.law);
  if (law == nullptr) return;
  page->law =
      absl::StrCat(profile.name, " (", profile.provenance, "); holds for ", profile.holds_for);
  page->billions = BillionsOf(input, flags);
  for (const double block : kBlocks) {
    LawCurve curve;
    curve.block = block;
    for (int i = 1; i <= kCurvePoints; ++i) {
      const double share = static_cast<double>(i) / kCurvePoints;
      curve.points.emplace_back(share, LawDelta(*law, page->billions, share, block));
    }
    page->law_curves.push_back(std::move(curve));
    if (law->gamma_b == 0) break;  // the same for every block
  }
  LawQuestion question;
  question.billions = page->billions;
  question.low_share = page->plan.low_share;
  question.block = std::max(1.0, page->plan.block);
  const absl::StatusOr<LawAnswer> answer = AskLaw(profile, question);
  if (!answer.ok()) return;
  page->law_warnings = answer->warnings;
  page->law_delta = answer->delta;
}

}  // namespace quantd::cli
