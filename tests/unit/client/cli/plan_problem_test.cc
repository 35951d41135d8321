#include "client/cli/plan_problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "client/cli/plan_recipe.h"
#include "client/cli/quantize_plan.h"
#include "client/cli/recipe.h"
#include "tests/unit/client/files/model_folder.h"

namespace quantd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// Frontiers that were never measured: sizes and errors follow from the bits.
class PlanProblemTest : public ::testing::Test {
 protected:
  PlanProblemTest() {
    quantd::testing::WriteLlama(folder_ / "model");
    flags_.model_dir = folder_ / "model";
    flags_.candidates = {"rtn:bits=2|4|8,group-size=32"};
    flags_.budget_bits = 4;
  }

  void MakeInput() {
    auto input = MakePlanInput(flags_, stop_);
    ASSERT_TRUE(input.ok()) << input.status();
    input_ = *std::move(input);
    for (const InputLayer& layer : input_->layers) {
      if (!layer.kept.empty()) continue;
      LayerFrontier& frontier = frontiers_[layer.module];
      for (size_t i = 0; i < input_->candidates.size(); ++i) {
        const Candidate& c = input_->candidates[i];
        MeasuredCandidate m;
        m.key = layer.keys[i];
        m.outcome = Outcome::kOk;
        m.code_bits = c.spec.levels.bits;
        m.bytes = layer.parameters() * c.spec.levels.bits / 8;
        m.block = 32;
        m.output_error = 1.0 / (1 << (2 * c.spec.levels.bits));
        frontier.candidates.push_back(m);
      }
    }
  }

  absl::StatusOr<PlanProblem> Problem() {
    if (input_ == nullptr) MakeInput();
    absl::StatusOr<PlanWishes> wishes = ReadWishes(*input_, flags_);
    if (!wishes.ok()) return wishes.status();
    wish_notes_ = wishes->notes;
    return MakePlanProblem(*input_, *wishes, frontiers_);
  }

  std::string Refusal() {
    const auto problem = Problem();
    EXPECT_EQ(problem.status().code(), absl::StatusCode::kInvalidArgument) << problem.status();
    return std::string(problem.status().message());
  }

  int LayerNamed(const std::string& module) const {
    for (size_t l = 0; l < input_->layers.size(); ++l) {
      if (input_->layers[l].module == module) return static_cast<int>(l);
    }
    ADD_FAILURE() << module;
    return -1;
  }

  static std::vector<int> CandidatesOfLayer(const PlanLayer& layer) {
    std::vector<int> list;
    for (const LayerOption& option : layer.options) list.push_back(option.candidate);
    return list;
  }

  quantd::testing::TempFolder folder_;
  PlanFlags flags_;
  client::StopSource stop_;
  std::unique_ptr<PlanInput> input_;
  std::map<std::string, LayerFrontier> frontiers_;
  std::vector<std::string> wish_notes_;
};

TEST_F(PlanProblemTest, LinearLayersOfTheBodyArePlannedAndTheRestIsCounted) {
  const auto problem = Problem();
  ASSERT_TRUE(problem.ok()) << problem.status();
  EXPECT_EQ(problem->problem.layers.size(), 14u);
  for (const PlanLayer& layer : problem->problem.layers) {
    EXPECT_THAT(CandidatesOfLayer(layer), ElementsAre(0, 1, 2, kDense));
    EXPECT_EQ(layer.options.back().bytes, 4 * layer.parameters);  // F32 as it is stored
  }
  // lm_head, embeddings, norms, biases.
  EXPECT_EQ(input_->other_parameters, 2u * 96 * 64 + 5 * 64 + 2 * 64);
  EXPECT_EQ(input_->other_bytes, 4 * input_->other_parameters);
  const uint64_t planned = 2 * (4 * 64 * 64 + 3 * 128 * 64);
  EXPECT_EQ(input_->parameters(), input_->other_parameters + planned);
  EXPECT_EQ(problem->problem.goal.bytes, planned / 2);
  EXPECT_EQ(problem->error_of, "layer outputs");
}

TEST_F(PlanProblemTest, LayersThatLoadersFuseAgree) {
  const auto problem = Problem();
  ASSERT_TRUE(problem.ok()) << problem.status();
  std::vector<std::vector<std::string>> sets;
  for (const std::vector<int>& set : problem->problem.same) {
    std::vector<std::string>& names = sets.emplace_back();
    for (const int l : set) names.push_back(problem->problem.layers[l].name);
  }
  const std::string a = "model.layers.0.", b = "model.layers.1.";
  EXPECT_THAT(sets, UnorderedElementsAre(
                        UnorderedElementsAre(a + "mlp.gate_proj", a + "mlp.up_proj"),
                        UnorderedElementsAre(b + "mlp.gate_proj", b + "mlp.up_proj"),
                        UnorderedElementsAre(a + "self_attn.q_proj", a + "self_attn.k_proj",
                                             a + "self_attn.v_proj"),
                        UnorderedElementsAre(b + "self_attn.q_proj", b + "self_attn.k_proj",
                                             b + "self_attn.v_proj")));
  flags_.same = {"down_proj"};
  EXPECT_EQ(Problem()->problem.same.size(), 5u);
}

TEST_F(PlanProblemTest, AFusedSetStaysWholeWhereAMemberFitsNoCandidate) {
  // 128 rows of gate and up are cut into groups, the 96 rows of a smaller k are not.
  auto tensors = quantd::testing::LlamaTensors();
  for (auto& tensor : tensors) {
    if (tensor.name == "model.layers.0.self_attn.k_proj.weight") {
      tensor = quantd::testing::F32(tensor.name, {48, 64}, 5);
    }
  }
  quantd::testing::WriteText(folder_ / "model/model.safetensors",
                             quantd::testing::Serialize(tensors));
  flags_.candidates = {"rtn:bits=4,group-axis=in,group-size=64"};
  flags_.budget_bits = 16;
  const auto problem = Problem();
  ASSERT_TRUE(problem.ok()) << problem.status();
  ASSERT_EQ(wish_notes_.size(), 1u);
  EXPECT_THAT(wish_notes_[0], HasSubstr("layers.0.self_attn.k_proj and the 2 layers that loaders"));
  const auto plan = Allocate(problem->problem);
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
    const int l = LayerNamed(std::string("model.layers.0.self_attn.") + name);
    EXPECT_EQ(problem->problem.layers[l].options[plan->choice[l]].candidate, kDense) << name;
  }
  EXPECT_THAT(input_->warnings, ElementsAre(HasSubstr("fits 13 of 14 layers, by their shapes")));
}

TEST_F(PlanProblemTest, BoundsAndExclusionsNarrowTheOptions) {
  flags_.exclude = {"layers\\.0\\.mlp"};
  flags_.min_bits = {"o_proj=4"};
  flags_.max_bits = {"layers\\.1\\..*o_proj=8", "q_proj=2"};
  const auto problem = Problem();
  ASSERT_TRUE(problem.ok()) << problem.status();
  const auto options = [&](const char* module) {
    return CandidatesOfLayer(problem->problem.layers[LayerNamed(module)]);
  };
  EXPECT_THAT(options("model.layers.0.mlp.up_proj"), ElementsAre(kDense));
  EXPECT_THAT(options("model.layers.0.self_attn.o_proj"), ElementsAre(1, 2, kDense));
  EXPECT_THAT(options("model.layers.1.self_attn.o_proj"), ElementsAre(1, 2));
  EXPECT_THAT(options("model.layers.0.self_attn.q_proj"), ElementsAre(0));
}

TEST_F(PlanProblemTest, WhatDidNotEndOkIsNotTakenAndTold) {
  MakeInput();
  LayerFrontier& frontier = frontiers_["model.layers.0.mlp.down_proj"];
  frontier.candidates[0].outcome = Outcome::kDegraded;
  frontier.candidates[0].reason = "H is not positive definite";
  const auto problem = Problem();
  ASSERT_TRUE(problem.ok()) << problem.status();
  EXPECT_THAT(
      CandidatesOfLayer(problem->problem.layers[LayerNamed("model.layers.0.mlp.down_proj")]),
      ElementsAre(1, 2, kDense));
  ASSERT_EQ(problem->notes.size(), 1u);
  EXPECT_THAT(problem->notes[0], HasSubstr("DEGRADED: H is not positive definite"));
}

TEST_F(PlanProblemTest, SensitivitiesComeFromAFile) {
  flags_.sensitivity = folder_ / "s.csv";
  quantd::testing::WriteText(flags_.sensitivity,
                             "module,sensitivity\nmodel.layers.1.mlp.down_proj,2.5\n");
  const auto problem = Problem();
  ASSERT_TRUE(problem.ok()) << problem.status();
  EXPECT_EQ(problem->problem.layers[LayerNamed("model.layers.1.mlp.down_proj")].sensitivity, 2.5);
  EXPECT_EQ(problem->problem.layers[0].sensitivity, 1);
  quantd::testing::WriteText(flags_.sensitivity, "module,sensitivity\nmodel.layers.9.x,1\n");
  EXPECT_THAT(Refusal(), HasSubstr("s.csv:2: \"model.layers.9.x\" is none of the 14 layers"));
  quantd::testing::WriteText(flags_.sensitivity,
                             "module,sensitivity\nmodel.layers.1.mlp.down_proj,-1\n");
  EXPECT_THAT(Refusal(), HasSubstr("s.csv:2: -1 is below 0"));
  quantd::testing::WriteText(flags_.sensitivity,
                             "module,sensitivity\nmodel.layers.1.mlp.down_proj,1\n"
                             "model.layers.1.mlp.down_proj,2\n");
  EXPECT_THAT(Refusal(), HasSubstr("s.csv:3: \"model.layers.1.mlp.down_proj\" stands there twice"));
  quantd::testing::WriteText(flags_.sensitivity, "layer,weight\na,1\n");
  EXPECT_THAT(Refusal(), HasSubstr("columns module and sensitivity"));
}

TEST_F(PlanProblemTest, MistakesAreNamed) {
  flags_.min_bits = {"nosuch=4"};
  EXPECT_THAT(Refusal(), HasSubstr("--min-bits: \"nosuch\" matches none of the 14 layers"));
  flags_.min_bits = {"o_proj"};
  EXPECT_THAT(Refusal(), HasSubstr("\"o_proj\" is not REGEX=BITS"));
  flags_.min_bits = {"o_proj=6"};
  flags_.max_bits = {"o_proj=5"};
  EXPECT_THAT(Refusal(), HasSubstr("self_attn.o_proj: --min-bits and --max-bits leave it nothing "
                                   "from 6 to 5 bits; its candidates have 2, 4, 8, 32"));
  flags_.min_bits = flags_.max_bits = {};
  flags_.same = {"("};
  EXPECT_THAT(Refusal(), HasSubstr("--same: "));
  flags_.same = {};
  flags_.budget_bits.reset();
  flags_.low_share = 0.5;
  EXPECT_THAT(Refusal(), HasSubstr("one candidate, and there are 3"));
  flags_.low_share.reset();
  flags_.size = 1000;
  EXPECT_EQ(Problem().status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(Problem().status().message()), HasSubstr("not planned alone"));
}

TEST_F(PlanProblemTest, ASizeCountsEveryByteOfTheFiles) {
  flags_.budget_bits.reset();
  flags_.size = 150'000;
  const auto problem = Problem();
  ASSERT_TRUE(problem.ok()) << problem.status();
  const auto plan = Allocate(problem->problem);
  ASSERT_TRUE(plan.ok()) << plan.status();
  // The recipe's own output, headers and all.
  quantd::testing::WriteText(folder_ / "p.yaml",
                             PlanRecipe(*input_, problem->problem.layers, plan->choice, {"x"}));
  QuantizeFlags quantize;
  quantize.model_dir = flags_.model_dir;
  quantize.recipe = folder_ / "p.yaml";
  const auto run = MakeQuantizePlan(quantize, stop_);
  ASSERT_TRUE(run.ok()) << run.status();
  // These frontiers count codes alone; scales of groups of 32 add half a bit.
  uint64_t scales = 0;
  for (size_t l = 0; l < plan->choice.size(); ++l) {
    const PlanLayer& layer = problem->problem.layers[l];
    const LayerOption& option = layer.options[plan->choice[l]];
    if (option.candidate != kDense) scales += layer.parameters / 16 + 16;  // and the shape tensor
  }
  EXPECT_LE((*run)->output->TotalBytes(), *flags_.size + scales);
  EXPECT_GT((*run)->output->TotalBytes(), *flags_.size * 8 / 10);
}

TEST_F(PlanProblemTest, TheRecipeGivesEveryLayerItsCandidate) {
  flags_.candidates = {"rtn:bits=3|8,group-size=32|row,symmetry=asymmetric"};
  const auto problem = Problem();
  ASSERT_TRUE(problem.ok()) << problem.status();
  std::vector<int> choice;
  for (size_t l = 0; l < problem->problem.layers.size(); ++l) {
    choice.push_back(static_cast<int>(l % problem->problem.layers[l].options.size()));
  }
  const std::string yaml =
      PlanRecipe(*input_, problem->problem.layers, choice, {"first line", "second line"});
  EXPECT_THAT(yaml, ::testing::StartsWith("# first line\n# second line\nlayout: "));
  const auto recipe = ParseRecipe(yaml, "p.yaml");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_EQ(recipe->layout, input_->layout->name());
  for (size_t l = 0; l < choice.size(); ++l) {
    const PlanLayer& layer = problem->problem.layers[l];
    const int candidate = layer.options[choice[l]].candidate;
    const auto found = recipe->For(layer.name, {});
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->has_value(), candidate != kDense);
    if (candidate == kDense) continue;
    EXPECT_EQ(KeyOf(*ResolveSpec(**found), ""), KeyOf(input_->candidates[candidate].spec, ""));
  }
}

}  // namespace
}  // namespace quantd::cli
