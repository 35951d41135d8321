#include "server/rpc/plan.h"

#include <vector>

#include "proto/wire/codec_plan.h"
#include "workers/core/status_macros.h"
#include "workers/planner/allocation.h"
#include "workers/planner/random_search.h"
#include "workers/planner/scaling_law.h"

namespace quantd {
namespace {

absl::Status AnswerAllocation(const v1::AllocationQuestion& message, v1::AllocationAnswer* answer) {
  QUANTD_ASSIGN_OR_RETURN(const wire::AllocationQuestion question, wire::FromProto(message));
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

absl::Status MakePlan(const v1::PlanRequest& request, v1::PlanResponse* response) {
  switch (request.question_case()) {
    case v1::PlanRequest::kAllocation:
      return AnswerAllocation(request.allocation(), response->mutable_allocation());
    case v1::PlanRequest::kLaw:
      return AnswerLaw(request.law(), response->mutable_law());
    case v1::PlanRequest::QUESTION_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("question: missing: allocation or law");
}

}  // namespace quantd
