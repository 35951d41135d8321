#include "proto/wire/codec_plan.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/wire/field_path.h"
#include "workers/core/status_macros.h"

namespace quantd::wire {
namespace {

absl::Status CheckNumber(const FieldPath& path, double value) {
  return Require(std::isfinite(value), path, value, "the finite numbers");
}

// As for parameters: sums of it are exact in double and do not overflow.
constexpr int64_t kMostBlock = int64_t{1} << 53;

// exp() of it must be a number.
constexpr double kMostResidual = 100;

// Their number bounds the work of a plan beside what the message's size does.
absl::Status ParseCandidates(const v1::AllocationQuestion& message, const FieldPath& root,
                             std::vector<std::string>* names) {
  if (message.candidates_size() > kMaxTensors) {
    return Invalid(root.Field("candidates"),
                   absl::StrCat(message.candidates_size(), " candidates, at most ", kMaxTensors));
  }
  for (int i = 0; i < message.candidates_size(); ++i) {
    QUANTD_RETURN_IF_ERROR(CheckName(root.At("candidates", i), message.candidates(i)));
    names->push_back(message.candidates(i));
  }
  return absl::OkStatus();
}

absl::Status ParseOption(const v1::LayerOption& message, const FieldPath& path, int candidates,
                         LayerOption* option) {
  QUANTD_RETURN_IF_ERROR(Require(message.candidate() >= kDense && message.candidate() < candidates,
                                 path.Field("candidate"), message.candidate(),
                                 absl::StrCat(kDense, "..", candidates - 1)));
  QUANTD_RETURN_IF_ERROR(CheckNumber(path.Field("error"), message.error()));
  QUANTD_RETURN_IF_ERROR(Require(message.block() >= 0 && message.block() < kMostBlock,
                                 path.Field("block"), message.block(), "0..2^53-1"));
  *option = {message.candidate(), message.bytes(), message.error(), message.block()};
  return absl::OkStatus();
}

absl::Status ParseLayer(const v1::PlanLayer& message, const FieldPath& path, int candidates,
                        PlanLayer* layer) {
  QUANTD_RETURN_IF_ERROR(CheckName(path.Field("name"), message.name()));
  layer->name = message.name();
  layer->parameters = message.parameters();
  if (message.has_sensitivity()) {
    QUANTD_RETURN_IF_ERROR(CheckNumber(path.Field("sensitivity"), message.sensitivity()));
    layer->sensitivity = message.sensitivity();
  }
  layer->options.resize(message.options_size());
  for (int i = 0; i < message.options_size(); ++i) {
    QUANTD_RETURN_IF_ERROR(
        ParseOption(message.options(i), path.At("options", i), candidates, &layer->options[i]));
  }
  return absl::OkStatus();
}

absl::Status ParseSets(const google::protobuf::RepeatedPtrField<v1::LayerSet>& messages,
                       const FieldPath& parent, absl::string_view name, int layers,
                       std::vector<std::vector<int>>* sets) {
  for (int i = 0; i < messages.size(); ++i) {
    const FieldPath path = parent.At(name, i);
    std::vector<int>& set = sets->emplace_back();
    for (int k = 0; k < messages[i].layers_size(); ++k) {
      const uint32_t layer = messages[i].layers(k);
      QUANTD_RETURN_IF_ERROR(Require(layer < static_cast<uint32_t>(layers), path.At("layers", k),
                                     layer, absl::StrCat("0..", layers - 1)));
      set.push_back(static_cast<int>(layer));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseGoal(const v1::AllocationQuestion& message, PlanGoal* goal) {
  switch (message.goal_case()) {
    case v1::AllocationQuestion::kMaxBytes:
      *goal = {.kind = GoalKind::kBytes, .bytes = message.max_bytes()};
      return absl::OkStatus();
    case v1::AllocationQuestion::kMaxError:
      *goal = {.kind = GoalKind::kError, .error = message.max_error()};
      return CheckNumber(FieldPath("allocation.max_error"), message.max_error());
    case v1::AllocationQuestion::kLowShare:
      *goal = {.kind = GoalKind::kLowShare, .low_share = message.low_share()};
      return CheckNumber(FieldPath("allocation.low_share"), message.low_share());
    case v1::AllocationQuestion::GOAL_NOT_SET:
      break;
  }
  return Invalid(FieldPath("allocation.goal"), "missing: max_bytes, max_error or low_share");
}

absl::Status ParseRandomSearch(const v1::AllocationQuestion& message,
                               AllocationQuestion* question) {
  const v1::RandomSearch& from = message.random_search();
  const FieldPath path("allocation.random_search");
  if (message.goal_case() != v1::AllocationQuestion::kLowShare) {
    return Invalid(path, "draws are made at a low_share, which the goal must be");
  }
  QUANTD_RETURN_IF_ERROR(Require(from.trials() >= 1 && from.trials() <= 1000, path.Field("trials"),
                                 from.trials(), "1..1000"));
  const int64_t choices = static_cast<int64_t>(from.trials()) * message.layers_size();
  QUANTD_RETURN_IF_ERROR(Require(choices <= kMaxTrialChoices, path.Field("trials"), from.trials(),
                                 absl::StrCat("1..", kMaxTrialChoices, " / layers")));
  QUANTD_RETURN_IF_ERROR(Require(
      from.candidate() < static_cast<uint32_t>(message.candidates_size()), path.Field("candidate"),
      from.candidate(), absl::StrCat("0..", message.candidates_size() - 1)));
  RandomSearchOptions& options = question->random.emplace();
  options.trials = static_cast<int>(from.trials());
  options.seed = from.seed();
  options.low_share = message.low_share();
  options.candidate = static_cast<int>(from.candidate());
  QUANTD_RETURN_IF_ERROR(
      ParseSets(from.blocks(), path, "blocks", message.layers_size(), &options.blocks));
  question->losses.assign(from.losses().begin(), from.losses().end());
  return absl::OkStatus();
}

absl::Status ParseRange(const v1::LawRange& message, const FieldPath& path, LawRange* range) {
  QUANTD_RETURN_IF_ERROR(CheckNumber(path.Field("least"), message.least()));
  QUANTD_RETURN_IF_ERROR(CheckNumber(path.Field("most"), message.most()));
  *range = {message.least(), message.most()};
  return absl::OkStatus();
}

absl::Status ParseLaw(const v1::ScalingLaw& message, ScalingLaw* law) {
  const FieldPath path("law.law");
  const auto positive = [&](absl::string_view field, double value, double* out) {
    *out = value;
    return Require(std::isfinite(value) && value > 0, path.Field(field), value,
                   "the numbers above 0");
  };
  const auto not_negative = [&](absl::string_view field, double value, double* out) {
    *out = value;
    return Require(std::isfinite(value) && value >= 0, path.Field(field), value,
                   "the numbers from 0");
  };
  QUANTD_RETURN_IF_ERROR(positive("c", message.c(), &law->c));
  QUANTD_RETURN_IF_ERROR(positive("a", message.a(), &law->a));
  QUANTD_RETURN_IF_ERROR(positive("gamma_n", message.gamma_n(), &law->gamma_n));
  QUANTD_RETURN_IF_ERROR(not_negative("gamma_b", message.gamma_b(), &law->gamma_b));
  QUANTD_RETURN_IF_ERROR(not_negative("d", message.d(), &law->d));
  law->residual = message.residual();
  QUANTD_RETURN_IF_ERROR(Require(law->residual >= 0 && law->residual <= kMostResidual,
                                 path.Field("residual"), law->residual, "[0, 100]"));
  QUANTD_RETURN_IF_ERROR(
      ParseRange(message.billions(), path.Field("billions"), &law->domain.billions));
  QUANTD_RETURN_IF_ERROR(
      ParseRange(message.low_share(), path.Field("low_share"), &law->domain.low_share));
  return ParseRange(message.block(), path.Field("block"), &law->domain.block);
}

void PutTotals(const PlanTotals& totals, v1::PlanTotals* message) {
  message->set_bytes(totals.bytes);
  message->set_bits_per_weight(totals.bits_per_weight);
  message->set_error(totals.error);
  message->set_low_share(totals.low_share);
  message->set_block(totals.block);
}

}  // namespace

absl::StatusOr<AllocationQuestion> FromProto(const v1::AllocationQuestion& message) {
  const FieldPath root("allocation");
  AllocationQuestion question;
  AllocationProblem& problem = question.problem;
  QUANTD_RETURN_IF_ERROR(ParseCandidates(message, root, &problem.candidates));
  problem.layers.resize(message.layers_size());
  for (int i = 0; i < message.layers_size(); ++i) {
    QUANTD_RETURN_IF_ERROR(ParseLayer(message.layers(i), root.At("layers", i),
                                      message.candidates_size(), &problem.layers[i]));
  }
  QUANTD_RETURN_IF_ERROR(
      ParseSets(message.same(), root, "same", message.layers_size(), &problem.same));
  QUANTD_RETURN_IF_ERROR(ParseGoal(message, &problem.goal));
  if (message.has_random_search()) QUANTD_RETURN_IF_ERROR(ParseRandomSearch(message, &question));
  return question;
}

absl::StatusOr<LawQuestion> FromProto(const v1::LawQuestion& message, LawProfile* profile) {
  profile->name = "the law of the request";
  QUANTD_RETURN_IF_ERROR(ParseLaw(message.law(), &profile->law.emplace<ScalingLaw>()));
  LawQuestion question;
  if (message.has_billions()) question.billions = message.billions();
  if (message.has_low_share()) question.low_share = message.low_share();
  if (message.has_block()) question.block = message.block();
  if (message.has_delta()) question.delta = message.delta();
  return question;
}

void Put(const Plan& plan, v1::AllocationAnswer* message) {
  message->Clear();
  for (const int option : plan.choice) message->add_choice(static_cast<uint32_t>(option));
  PutTotals(plan.totals, message->mutable_totals());
  message->set_bound(plan.bound);
  message->set_gap(plan.gap);
  for (const UniformPlan& uniform : plan.uniform) {
    v1::UniformPlan* item = message->add_uniform();
    item->set_candidate(uniform.candidate);
    PutTotals(uniform.totals, item->mutable_totals());
  }
  message->set_best_uniform(plan.best_uniform);
}

void Put(const std::vector<RandomTrial>& trials, int best, v1::AllocationAnswer* message) {
  message->Clear();
  for (const RandomTrial& trial : trials) {
    v1::PlanTrial* item = message->add_trials();
    for (const int option : trial.choice) item->add_choice(static_cast<uint32_t>(option));
    PutTotals(trial.totals, item->mutable_totals());
  }
  *message->mutable_choice() = message->trials(best).choice();
  *message->mutable_totals() = message->trials(best).totals();
  message->set_best_trial(static_cast<uint32_t>(best));
  message->set_best_uniform(-1);
}

void Put(const LawAnswer& answer, v1::LawAnswer* message) {
  message->Clear();
  message->set_billions(answer.billions);
  message->set_low_share(answer.low_share);
  message->set_block(answer.block);
  message->set_delta(answer.delta);
  message->mutable_likely()->set_least(answer.likely.least);
  message->mutable_likely()->set_most(answer.likely.most);
  for (const std::string& warning : answer.warnings) message->add_warnings(warning);
}

}  // namespace quantd::wire
