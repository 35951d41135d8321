// Plan's messages <-> the planner's structs.
#pragma once

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "quantd/v1/plan.pb.h"
#include "workers/planner/allocation.h"
#include "workers/planner/random_search.h"
#include "workers/planner/scaling_law.h"

namespace quantd::wire {

struct AllocationQuestion {
  AllocationProblem problem;
  std::optional<RandomSearchOptions> random;
  std::vector<double> losses;  // of random draws
};

// Parsing: INVALID_ARGUMENT with the field's path and value for indices beyond what the message
// declares, a goal that is missing, names that are none, numbers that are NaN; more than 4096
// candidates or kMaxTrialChoices choices in all trials together. What a problem must be beyond
// that is Allocate's to check.
inline constexpr int64_t kMaxTrialChoices = 1'000'000;
absl::StatusOr<AllocationQuestion> FromProto(const v1::AllocationQuestion& message);
absl::StatusOr<LawQuestion> FromProto(const v1::LawQuestion& message, LawProfile* profile);

// Writing: total. Random draws have neither bound nor gap.
void Put(const Plan& plan, v1::AllocationAnswer* message);
void Put(const std::vector<RandomTrial>& trials, int best, v1::AllocationAnswer* message);
void Put(const LawAnswer& answer, v1::LawAnswer* message);

}  // namespace quantd::wire
