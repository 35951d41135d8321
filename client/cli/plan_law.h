// What a scaling law has to say about a plan: the share in low precision that a loss allows, and
// curves for the plan's page.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "client/cli/plan_input.h"
#include "client/pages/plan_page.h"
#include "workers/planner/scaling_law.h"

namespace quantd::cli {

// The profile that the flags name.
absl::StatusOr<LawProfile> LoadLaw(const PlanFlags& flags);

// The largest Q_r within flags.max_loss, for the model's parameters and the blocks of the one
// candidate. OUT_OF_RANGE where the law was not measured, unless flags.extrapolate; warnings go to
// `warnings` then.
absl::StatusOr<double> LowShareWithin(const PlanInput& input, const PlanFlags& flags,
                                      const LawProfile& profile,
                                      std::vector<std::string>* warnings);

// Fills in the law's part of the page: nothing for laws that have no curves.
void AddLawCurves(const PlanInput& input, const PlanFlags& flags, const LawProfile& profile,
                  PlanPage* page);

}  // namespace quantd::cli
