#include "server/rpc/plan.h"

#include <cstdint>
#include <vector>

#include "proto/wire/codec_plan.h"
#include "workers/core/status_macros.h"
#include "workers/planner/allocation.h"
#include "workers/planner/random_search.h"
#include "workers/planner/scaling_law.h"

namespace quantd {
namespace {

// Admission does not count plans, and one runs on each compute thread at most: this is 12 MB of
// back pointers and some 50 MB in all, for a second at worst. More would gain nothing that shows in
// measured errors: the gaps that the most stubborn problems are left with lie near 1e-6.
constexpr uint64_t kMaxStates = uint64_t{1} << 20;

absl::Status AnswerAllocation(const v1::AllocationQuestion& message, const CancelToken& cancel,
                              v1::AllocationAnswer* answer) {
  QUANTD_ASSIGN_OR_RETURN(wire::AllocationQuestion question, wire::FromProto(message));
  question.problem.limits = {kMaxStates, &cancel};
  if (!question.random.has_value()) {
    QUANTD_ASSIGN_OR_RETURN(const Plan plan, Allocate(question.problem));
    wire::Put(plan, answer);
    return absl::OkStatus();
  }
  QUANTD_ASSIGN_OR_RETURN(const std::vector<RandomTrial> trials,
                          DrawTrials(question.problem, *question.random));
  QUANTD_ASSIGN_OR_RETURN(const int best, BestTrial(trials, question.losses));
  wire::Put(trials, best, answer);
  return absl::OkStatus();
}

absl::Status AnswerLaw(const v1::LawQuestion& message, v1::LawAnswer* answer) {
  LawProfile profile;
  QUANTD_ASSIGN_OR_RETURN(const LawQuestion question, wire::FromProto(message, &profile));
  QUANTD_ASSIGN_OR_RETURN(const LawAnswer said, AskLaw(profile, question));
  wire::Put(said, answer);
  return absl::OkStatus();
}

}  // namespace

absl::Status MakePlan(const v1::PlanRequest& request, const CancelToken& cancel,
                      v1::PlanResponse* response) {
  switch (request.question_case()) {
    case v1::PlanRequest::kAllocation:
      return AnswerAllocation(request.allocation(), cancel, response->mutable_allocation());
    case v1::PlanRequest::kLaw:
      return AnswerLaw(request.law(), response->mutable_law());
    case v1::PlanRequest::QUESTION_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("question: missing: allocation or law");
}

}  // namespace quantd
