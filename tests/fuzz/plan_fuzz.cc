// Plan on arbitrary requests: no crash, and every answer keeps what plan.proto promises.
//
// Input: the bytes of a PlanRequest.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "server/rpc/plan.h"

namespace quantd {
namespace {

// More of each finds nothing new and takes long.
constexpr int kMostLayers = 64;
constexpr int kMostOptions = 256;  // of all layers together
constexpr uint32_t kMostTrials = 64;

void Check(bool ok) {
  if (!ok) std::abort();
}

bool IsSmall(const v1::AllocationQuestion& question) {
  int options = 0;
  for (const v1::PlanLayer& layer : question.layers()) options += layer.options_size();
  return question.layers_size() <= kMostLayers && options <= kMostOptions &&
         question.random_search().trials() <= kMostTrials;
}

void CheckTotals(const v1::PlanTotals& totals) {
  for (const double value :
       {totals.bits_per_weight(), totals.error(), totals.low_share(), totals.block()}) {
    Check(std::isfinite(value) && value >= 0);
  }
  Check(totals.low_share() <= 1);
}

// Sums of a choice, made anew.
template <typename Choice>
void CheckChoice(const v1::AllocationQuestion& question, const Choice& choice,
                 const v1::PlanTotals& totals) {
  Check(choice.size() == question.layers_size());
  uint64_t bytes = 0, parameters = 0, low = 0;
  for (int l = 0; l < choice.size(); ++l) {
    const v1::PlanLayer& layer = question.layers(l);
    Check(choice.Get(l) < static_cast<uint32_t>(layer.options_size()));
    const v1::LayerOption& option = layer.options(static_cast<int>(choice.Get(l)));
    bytes += option.bytes();
    parameters += layer.parameters();
    if (option.candidate() >= 0) low += layer.parameters();
  }
  CheckTotals(totals);
  Check(totals.bytes() == bytes);
  const double share = static_cast<double>(low) / static_cast<double>(parameters);
  Check(std::abs(totals.low_share() - share) <= 1e-12);
  for (const v1::LayerSet& set : question.same()) {
    const auto candidate = [&](uint32_t l) {
      const auto index = static_cast<int>(l);
      return question.layers(index).options(static_cast<int>(choice.Get(index))).candidate();
    };
    for (const uint32_t l : set.layers()) Check(candidate(l) == candidate(set.layers(0)));
  }
}

bool Meets(const v1::AllocationQuestion& question, const v1::PlanTotals& totals) {
  switch (question.goal_case()) {
    case v1::AllocationQuestion::kMaxBytes:
      return totals.bytes() <= question.max_bytes();
    case v1::AllocationQuestion::kMaxError:
      return totals.error() <= question.max_error() * (1 + 1e-9);
    case v1::AllocationQuestion::kLowShare:
      return totals.low_share() <= question.low_share();
    case v1::AllocationQuestion::GOAL_NOT_SET:
      break;
  }
  return false;
}

// Of those that all layers have.
void CheckUniform(const v1::AllocationQuestion& question, const v1::AllocationAnswer& answer) {
  uint64_t bytes = 0;
  for (const v1::UniformPlan& plan : answer.uniform()) {
    Check(plan.candidate() >= -1 && plan.candidate() < question.candidates_size());
    CheckTotals(plan.totals());
    Check(plan.totals().bytes() >= bytes);
    bytes = plan.totals().bytes();
  }
  Check(answer.best_uniform() >= -1 && answer.best_uniform() < answer.uniform_size());
  if (answer.best_uniform() < 0) return;
  const v1::PlanTotals& best = answer.uniform(answer.best_uniform()).totals();
  Check(Meets(question, best));
  // What holds for the plan: never worse than the best of them.
  if (question.has_max_bytes()) Check(answer.totals().error() <= best.error() * (1 + 1e-9));
  if (question.has_max_error()) Check(answer.totals().bytes() <= best.bytes());
}

void CheckAllocation(const v1::AllocationQuestion& question, const v1::AllocationAnswer& answer) {
  CheckChoice(question, answer.choice(), answer.totals());
  Check(Meets(question, answer.totals()));
  Check(answer.has_bound() == !question.has_random_search());
  Check(answer.has_gap() == !question.has_random_search());
  if (!question.has_random_search()) {
    Check(answer.trials_size() == 0);
    Check(std::isfinite(answer.bound()) && answer.bound() >= 0);
    Check(answer.gap() >= 0 && answer.gap() <= 1);
    const double reached = question.has_max_error() ? static_cast<double>(answer.totals().bytes())
                                                    : answer.totals().error();
    Check(answer.bound() <= reached);
    CheckUniform(question, answer);
    return;
  }
  Check(answer.trials_size() == static_cast<int>(question.random_search().trials()));
  for (const v1::PlanTrial& trial : answer.trials()) {
    CheckChoice(question, trial.choice(), trial.totals());
    Check(trial.totals().low_share() <= question.low_share());
  }
  Check(answer.best_trial() < static_cast<uint32_t>(answer.trials_size()));
  const auto& best = answer.trials(static_cast<int>(answer.best_trial())).choice();
  Check(std::equal(best.begin(), best.end(), answer.choice().begin(), answer.choice().end()));
}

void CheckLaw(const v1::LawQuestion& question, const v1::LawAnswer& answer) {
  for (const double value :
       {answer.billions(), answer.low_share(), answer.block(), answer.delta()}) {
    Check(std::isfinite(value) && value >= 0);
  }
  Check(answer.low_share() <= 1);
  if (question.has_billions()) Check(answer.billions() == question.billions());
  if (question.has_low_share()) Check(answer.low_share() == question.low_share());
  if (question.has_block()) Check(answer.block() == question.block());
  if (question.has_delta()) Check(answer.delta() == question.delta());
  Check(answer.likely().least() <= answer.likely().most());
  Check(std::isfinite(answer.likely().least()) && std::isfinite(answer.likely().most()));
}

void CheckAnswer(const v1::PlanRequest& request) {
  v1::PlanResponse response;
  const absl::Status status = MakePlan(request, CancelToken(), &response);
  if (!status.ok()) {
    Check(status.code() == absl::StatusCode::kInvalidArgument ||
          status.code() == absl::StatusCode::kOutOfRange);
    Check(!status.message().empty());
    return;
  }
  if (request.has_law()) {
    CheckLaw(request.law(), response.law());
  } else {
    CheckAllocation(request.allocation(), response.allocation());
  }
  v1::PlanResponse again;
  Check(MakePlan(request, CancelToken(), &again).ok());
  Check(again.SerializeAsString() == response.SerializeAsString());
}

}  // namespace
}  // namespace quantd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quantd::v1::PlanRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  if (quantd::IsSmall(request.allocation())) quantd::CheckAnswer(request);
  return 0;
}
