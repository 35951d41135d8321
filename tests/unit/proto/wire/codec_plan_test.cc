#include "proto/wire/codec_plan.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace quantd::wire {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// Through bytes, as a peer would see it.
template <typename Message>
Message MessageOf(const std::string& text) {
  Message message, arrived;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  EXPECT_TRUE(arrived.ParseFromString(message.SerializeAsString()));
  return arrived;
}

// Two layers, two candidates and dense; every field away from its default.
v1::AllocationQuestion SampleQuestion() {
  return MessageOf<v1::AllocationQuestion>(R"(
    candidates: "int4" candidates: "int3"
    layers {
      name: "l.0.q" parameters: 4096 sensitivity: 2.5
      options { candidate: 0 bytes: 2100 error: 0.01 block: 64 }
      options { candidate: 1 bytes: 1600 error: 0.04 block: 128 }
      options { candidate: -1 bytes: 8192 }
    }
    layers {
      name: "l.0.k" parameters: 1024
      options { candidate: 1 bytes: 400 error: 0.05 block: 128 }
      options { candidate: -1 bytes: 2048 }
    }
    same { layers: 0 layers: 1 }
    low_share: 0.5
    random_search {
      trials: 7 seed: 4294967295 candidate: 1 blocks { layers: 1 } blocks { layers: 0 layers: 1 }
      losses: 0.5 losses: 0.25
    }
  )");
}

v1::LawQuestion SampleLaw() {
  return MessageOf<v1::LawQuestion>(R"(
    law {
      c: 0.00103 a: 4.955 gamma_n: 0.512 gamma_b: 0.425 d: 0.5 residual: 0.25
      billions { least: 0.5 most: 7 } low_share { least: 0.25 most: 1 } block { least: 16 most: 512 }
    }
    low_share: 0 block: 32 delta: 0.125
  )");
}

void ExpectNamed(const absl::Status& status, const std::string& field, const std::string& value) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field << ": " << status;
  EXPECT_THAT(std::string(status.message()), StartsWith(field + ": "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(value));
}

void ExpectRefused(const std::function<void(v1::AllocationQuestion*)>& lie,
                   const std::string& field, const std::string& value) {
  v1::AllocationQuestion message = SampleQuestion();
  ASSERT_TRUE(FromProto(message).ok()) << FromProto(message).status();
  lie(&message);
  ExpectNamed(FromProto(message).status(), absl::StrCat("allocation.", field), value);
}

void ExpectLawRefused(const std::function<void(v1::ScalingLaw*)>& lie, const std::string& field,
                      const std::string& value) {
  v1::LawQuestion message = SampleLaw();
  lie(message.mutable_law());
  LawProfile profile;
  ExpectNamed(FromProto(message, &profile).status(), absl::StrCat("law.law.", field), value);
}

TEST(CodecPlan, AnAllocationArrivesWhole) {
  const absl::StatusOr<AllocationQuestion> question = FromProto(SampleQuestion());
  ASSERT_TRUE(question.ok()) << question.status();
  const AllocationProblem& problem = question->problem;
  EXPECT_THAT(problem.candidates, ElementsAre("int4", "int3"));
  ASSERT_EQ(problem.layers.size(), 2u);
  const PlanLayer& q = problem.layers[0];
  EXPECT_EQ(q.name, "l.0.q");
  EXPECT_EQ(q.parameters, 4096u);
  EXPECT_EQ(q.sensitivity, 2.5);
  ASSERT_EQ(q.options.size(), 3u);
  EXPECT_EQ(q.options[1].candidate, 1);
  EXPECT_EQ(q.options[1].bytes, 1600u);
  EXPECT_EQ(q.options[1].error, 0.04);
  EXPECT_EQ(q.options[1].block, 128);
  EXPECT_EQ(q.options[2].candidate, kDense);
  EXPECT_EQ(problem.layers[1].sensitivity, 1) << "absent";
  EXPECT_THAT(problem.same, ElementsAre(ElementsAre(0, 1)));
  EXPECT_EQ(problem.goal.kind, GoalKind::kLowShare);
  EXPECT_EQ(problem.goal.low_share, 0.5);
  ASSERT_TRUE(question->random.has_value());
  EXPECT_EQ(question->random->trials, 7);
  EXPECT_EQ(question->random->seed, 4294967295u);
  EXPECT_EQ(question->random->low_share, 0.5);
  EXPECT_EQ(question->random->candidate, 1);
  EXPECT_THAT(question->random->blocks, ElementsAre(ElementsAre(1), ElementsAre(0, 1)));
  EXPECT_THAT(question->losses, ElementsAre(0.5, 0.25));
}

TEST(CodecPlan, GoalsAndZeroesThatAreWritten) {
  v1::AllocationQuestion message = SampleQuestion();
  message.clear_random_search();
  message.set_max_bytes(std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(FromProto(message)->problem.goal.kind, GoalKind::kBytes);
  EXPECT_EQ(FromProto(message)->problem.goal.bytes, std::numeric_limits<uint64_t>::max());
  EXPECT_FALSE(FromProto(message)->random.has_value());
  message.set_max_error(0.0625);
  EXPECT_EQ(FromProto(message)->problem.goal.kind, GoalKind::kError);
  EXPECT_EQ(FromProto(message)->problem.goal.error, 0.0625);
  message.set_low_share(0);
  EXPECT_EQ(FromProto(message)->problem.goal.kind, GoalKind::kLowShare);
  message.mutable_layers(0)->set_sensitivity(0);
  EXPECT_EQ(FromProto(message)->problem.layers[0].sensitivity, 0);
}

TEST(CodecPlan, IndicesBeyondWhatTheMessageDeclares) {
  const auto option = [](auto* m) { return m->mutable_layers(1)->mutable_options(0); };
  ExpectRefused([&](auto* m) { option(m)->set_candidate(2); }, "layers[1].options[0].candidate",
                "2 is not in -1..1");
  ExpectRefused([&](auto* m) { option(m)->set_candidate(-2); }, "layers[1].options[0].candidate",
                "-2 is not in -1..1");
  ExpectRefused([](auto* m) { m->mutable_same(0)->set_layers(1, 2); }, "same[0].layers[1]",
                "2 is not in 0..1");
  ExpectRefused([](auto* m) { m->mutable_same(0)->set_layers(0, 0xFFFFFFFF); }, "same[0].layers[0]",
                "4294967295 is not in 0..1");
  ExpectRefused([](auto* m) { m->mutable_random_search()->mutable_blocks(1)->set_layers(0, 9); },
                "random_search.blocks[1].layers[0]", "9 is not in 0..1");
  ExpectRefused([](auto* m) { m->mutable_random_search()->set_candidate(2); },
                "random_search.candidate", "2 is not in 0..1");
  ExpectRefused([](auto* m) { m->mutable_random_search()->set_candidate(0xFFFFFFFF); },
                "random_search.candidate", "4294967295 is not in 0..1");
}

TEST(CodecPlan, NumbersThatAreNone) {
  for (const double bad : {kNan, kInf, -kInf}) {
    const std::string shown = std::isnan(bad) ? "nan is not in the finite numbers" : "inf is not";
    ExpectRefused([&](auto* m) { m->mutable_layers(0)->mutable_options(1)->set_error(bad); },
                  "layers[0].options[1].error", shown);
    ExpectRefused([&](auto* m) { m->mutable_layers(1)->set_sensitivity(bad); },
                  "layers[1].sensitivity", shown);
    ExpectRefused([&](auto* m) { m->set_low_share(bad); }, "low_share", shown);
    ExpectRefused([&](auto* m) { m->clear_random_search(), m->set_max_error(bad); }, "max_error",
                  shown);
  }
  ExpectRefused([](auto* m) { m->mutable_layers(0)->mutable_options(1)->set_block(-1); },
                "layers[0].options[1].block", "-1 is not in 0..");
  // Added to a layer's parameters it would overflow.
  ExpectRefused(
      [](auto* m) {
        m->mutable_layers(0)->mutable_options(1)->set_block(std::numeric_limits<int64_t>::max());
      },
      "layers[0].options[1].block", "9223372036854775807 is not in 0..2^53-1");
}

TEST(CodecPlan, NamesThatAreNone) {
  ExpectRefused([](auto* m) { m->mutable_layers(1)->clear_name(); }, "layers[1].name", "is empty");
  ExpectRefused([](auto* m) { m->mutable_layers(0)->set_name("a\nb"); }, "layers[0].name",
                "control character");
  ExpectRefused([](auto* m) { m->set_candidates(1, "int3\n"); }, "candidates[1]",
                "control character");
  ExpectRefused([](auto* m) { m->set_candidates(0, std::string(1025, 'n')); }, "candidates[0]",
                "1025 bytes");
}

// Beside them the work grows with the square of a message that is mostly names.
TEST(CodecPlan, CandidatesHaveAnEnd) {
  const auto fill = [](v1::AllocationQuestion* m, int count) {
    const std::string name = "one of many";
    while (m->candidates_size() < count) m->add_candidates(name);
  };
  v1::AllocationQuestion message = SampleQuestion();
  fill(&message, 4096);
  EXPECT_TRUE(FromProto(message).ok()) << FromProto(message).status();
  ExpectRefused([&](auto* m) { fill(m, 4097); }, "candidates", "4097 candidates, at most 4096");
}

TEST(CodecPlan, AQuestionWithoutAGoal) {
  ExpectRefused([](auto* m) { m->clear_random_search(), m->clear_goal(); }, "goal",
                "missing: max_bytes, max_error or low_share");
  ExpectRefused([](auto* m) { m->clear_goal(); }, "goal", "missing");
}

TEST(CodecPlan, RandomDrawsNeedALowShare) {
  ExpectRefused([](auto* m) { m->set_max_bytes(5000); }, "random_search", "low_share");
  ExpectRefused([](auto* m) { m->set_max_error(0.5); }, "random_search", "low_share");
}

TEST(CodecPlan, TrialsWithinTheirBounds) {
  for (const uint32_t bad : {0u, 1001u, 0xFFFFFFFFu}) {
    ExpectRefused([&](auto* m) { m->mutable_random_search()->set_trials(bad); },
                  "random_search.trials", absl::StrCat(bad, " is not in 1..1000"));
  }
  const auto with_layers = [](v1::AllocationQuestion* m, int layers) {
    const v1::PlanLayer layer = m->layers(1);
    while (m->layers_size() < layers) *m->add_layers() = layer;
  };
  ExpectRefused(
      [&](auto* m) {
        with_layers(m, 1001);
        m->mutable_random_search()->set_trials(1000);
      },
      "random_search.trials", "1000 is not in 1..1000000 / layers");
  v1::AllocationQuestion most = SampleQuestion();
  with_layers(&most, 1000);
  most.mutable_random_search()->set_trials(1000);
  EXPECT_TRUE(FromProto(most).ok()) << FromProto(most).status();
}

TEST(CodecPlan, ALawArrivesWhole) {
  LawProfile profile;
  const absl::StatusOr<LawQuestion> question = FromProto(SampleLaw(), &profile);
  ASSERT_TRUE(question.ok()) << question.status();
  EXPECT_FALSE(question->billions.has_value());
  EXPECT_EQ(question->low_share, 0.0) << "a zero that is written is no absence";
  EXPECT_EQ(question->block, 32.0);
  EXPECT_EQ(question->delta, 0.125);
  ASSERT_TRUE(std::holds_alternative<ScalingLaw>(profile.law));
  const ScalingLaw& law = std::get<ScalingLaw>(profile.law);
  EXPECT_EQ(law.c, 0.00103);
  EXPECT_EQ(law.a, 4.955);
  EXPECT_EQ(law.gamma_n, 0.512);
  EXPECT_EQ(law.gamma_b, 0.425);
  EXPECT_EQ(law.d, 0.5);
  EXPECT_EQ(law.residual, 0.25);
  EXPECT_EQ(law.domain.billions.least, 0.5);
  EXPECT_EQ(law.domain.billions.most, 7);
  EXPECT_EQ(law.domain.low_share.least, 0.25);
  EXPECT_EQ(law.domain.low_share.most, 1);
  EXPECT_EQ(law.domain.block.least, 16);
  EXPECT_EQ(law.domain.block.most, 512);
}

TEST(CodecPlan, ALawsConstantsAreNumbersInRange) {
  const std::string positive = "the numbers above 0";
  for (const double bad : {kNan, kInf, 0.0, -1.0}) {
    ExpectLawRefused([&](auto* l) { l->set_c(bad); }, "c", positive);
    ExpectLawRefused([&](auto* l) { l->set_a(bad); }, "a", positive);
    ExpectLawRefused([&](auto* l) { l->set_gamma_n(bad); }, "gamma_n", positive);
  }
  for (const double bad : {kNan, kInf, -0.5}) {
    ExpectLawRefused([&](auto* l) { l->set_gamma_b(bad); }, "gamma_b", "the numbers from 0");
    ExpectLawRefused([&](auto* l) { l->set_d(bad); }, "d", "the numbers from 0");
    ExpectLawRefused([&](auto* l) { l->set_residual(bad); }, "residual", "is not in [0, 100]");
  }
  // exp() of it would be no number, and 0 times that neither.
  ExpectLawRefused([](auto* l) { l->set_residual(1000); }, "residual", "1000 is not in [0, 100]");
  ExpectLawRefused([](auto* l) { l->mutable_billions()->set_most(kNan); }, "billions.most", "nan");
  ExpectLawRefused([](auto* l) { l->mutable_low_share()->set_least(kInf); }, "low_share.least",
                   "inf");
  ExpectLawRefused([](auto* l) { l->mutable_block()->set_least(kNan); }, "block.least", "nan");
  v1::LawQuestion nothing;
  LawProfile profile;
  ExpectNamed(FromProto(nothing, &profile).status(), "law.law.c", "0 is not in");
}

TEST(CodecPlan, ThePlanIsWrittenWhole) {
  Plan plan;
  plan.choice = {2, 0};
  plan.totals = {8592, 13.4, 0.01, 0.2, 128};
  plan.bound = 0.009;
  plan.gap = 0.1;
  plan.uniform = {{1, {2000, 3.1, 0.042, 1, 127}}, {kDense, {10240, 16, 0, 0, 0}}};
  plan.best_uniform = 1;
  v1::AllocationAnswer message;
  message.add_choice(99);  // from an earlier use
  message.add_trials();
  Put(plan, &message);
  const auto arrived = MessageOf<v1::AllocationAnswer>(R"(
    choice: 2 choice: 0
    totals { bytes: 8592 bits_per_weight: 13.4 error: 0.01 low_share: 0.2 block: 128 }
    bound: 0.009 gap: 0.1
    uniform {
      candidate: 1
      totals { bytes: 2000 bits_per_weight: 3.1 error: 0.042 low_share: 1 block: 127 }
    }
    uniform { candidate: -1 totals { bytes: 10240 bits_per_weight: 16 } }
    best_uniform: 1
  )");
  EXPECT_EQ(message.SerializeAsString(), arrived.SerializeAsString()) << message.DebugString();
}

// Absent it would say that nothing is known.
TEST(CodecPlan, AGapOfZeroIsWritten) {
  v1::AllocationAnswer message;
  Put(Plan(), &message);
  EXPECT_TRUE(message.has_gap());
  EXPECT_TRUE(message.has_bound());
}

TEST(CodecPlan, TheBestTrialIsTheChoice) {
  const std::vector<RandomTrial> trials = {{{0, 2}, {5000, 10, 0.25, 0.5, 64}},
                                           {{2, 0}, {6000, 12, 0.125, 0.2, 128}}};
  v1::AllocationAnswer message;
  message.set_gap(7);  // from an earlier use
  message.set_bound(7);
  Put(trials, 1, &message);
  const auto arrived = MessageOf<v1::AllocationAnswer>(R"(
    choice: 2 choice: 0
    totals { bytes: 6000 bits_per_weight: 12 error: 0.125 low_share: 0.2 block: 128 }
    best_uniform: -1
    trials {
      choice: 0 choice: 2
      totals { bytes: 5000 bits_per_weight: 10 error: 0.25 low_share: 0.5 block: 64 }
    }
    trials {
      choice: 2 choice: 0
      totals { bytes: 6000 bits_per_weight: 12 error: 0.125 low_share: 0.2 block: 128 }
    }
    best_trial: 1
  )");
  EXPECT_EQ(message.SerializeAsString(), arrived.SerializeAsString()) << message.DebugString();
  EXPECT_FALSE(message.has_gap()) << "0 would say that it is the optimum";
  EXPECT_FALSE(message.has_bound());
}

TEST(CodecPlan, TheLawsAnswerIsWrittenWhole) {
  LawAnswer answer;
  answer.billions = 7;
  answer.low_share = 0.9;
  answer.block = 16;
  answer.delta = 0.1068;
  answer.likely = {0.09, 0.12};
  answer.warnings = {"N lies outside", "Q_b lies outside"};
  v1::LawAnswer message;
  message.add_warnings("from an earlier use");
  Put(answer, &message);
  EXPECT_EQ(message.billions(), 7);
  EXPECT_EQ(message.low_share(), 0.9);
  EXPECT_EQ(message.block(), 16);
  EXPECT_EQ(message.delta(), 0.1068);
  EXPECT_EQ(message.likely().least(), 0.09);
  EXPECT_EQ(message.likely().most(), 0.12);
  EXPECT_THAT(message.warnings(), ElementsAre("N lies outside", "Q_b lies outside"));
}

}  // namespace
}  // namespace quantd::wire
