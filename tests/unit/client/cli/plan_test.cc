// quantctl plan with a server in the process, then quantize with what it wrote.
#include "client/cli/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <sstream>

#include "client/cli/exit_codes.h"
#include "client/cli/quantize.h"
#include "client/cli/report_json.h"
#include "client/lib/connect.h"
#include "tests/unit/client/files/model_folder.h"

namespace quantd::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() {
    quantd::testing::WriteLlama(folder_ / "model");
    env_.out = &out_;
    env_.err = &err_;
    env_.stop = &stop_;
    env_.connect = [this](const client::ChannelOptions& options) {
      ++connections_;
      return client::Connect(options);
    };
    flags_.model_dir = folder_ / "model";
    flags_.out = folder_ / "plan.yaml";
    flags_.report = folder_ / "plan.json";
    flags_.law = "qwen1.5-mxint4-pooled";
    flags_.candidates = {"rtn:bits=2|3|4|8,group-size=32,fit=shrink-search"};
  }

  int Run() {
    out_.str("");
    err_.str("");
    const int code = RunPlan(flags_, &env_);
    report_ = quantd::testing::FileExists(flags_.report)
                  ? Json::parse(quantd::testing::ReadText(flags_.report), nullptr, false)
                  : Json();
    return code;
  }

  // Quantizes by the recipe and compares each layer with the plan's report.
  void ExpectQuantizedAsPlanned(const std::string& statistics) {
    QuantizeFlags quantize;
    quantize.model_dir = flags_.model_dir;
    quantize.out_dir = folder_ / "out";
    quantize.recipe = flags_.out;
    quantize.statistics = statistics;
    quantize.report = folder_ / "run.json";
    ASSERT_EQ(RunQuantize(quantize, &env_), kExitOk) << err_.str();
    const Json run = Json::parse(quantd::testing::ReadText(quantize.report));
    std::map<std::string, Json> layers;
    for (const Json& layer : run["tensors"]) layers[layer["name"].get<std::string>()] = layer;
    int compared = 0;
    for (const Json& planned : report_["layers"]) {
      if (planned["chosen"] == "as it is") continue;
      const Json& done = layers.at(planned["module"].get<std::string>() + ".weight");
      const char* error = statistics.empty() ? "weight_relative_error" : "output_relative_error";
      EXPECT_EQ(done["error"][error], planned["error"]) << planned;
      EXPECT_NEAR(done["all_in_bits_per_weight"].get<double>(),
                  planned["bits_per_weight"].get<double>(), 1e-9);
      ++compared;
    }
    EXPECT_GT(compared, 3);
  }

  double Figure(const char* name) const { return report_["plan"][name].get<double>(); }

  quantd::testing::TempFolder folder_;
  std::ostringstream out_, err_;
  client::StopSource stop_;
  Environment env_;
  PlanFlags flags_;
  Json report_;
  int connections_ = 0;
};

TEST_F(PlanTest, TheRecipeBringsWhatThePlanSays) {
  flags_.budget_bits = 4;
  flags_.html = folder_ / "plan.html";
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_LE(Figure("bits_per_weight"), 4);
  EXPECT_EQ(report_["gap"], 0);
  EXPECT_THAT(out_.str(), HasSubstr("the optimum of 14 layers and 4 candidates"));
  EXPECT_THAT(quantd::testing::ReadText(flags_.html), HasSubstr("<svg"));
  // Never worse than a uniform plan within the budget.
  for (const Json& uniform : report_["uniform"]) {
    const Json& totals = uniform["totals"];
    if (totals["bits_per_weight"].get<double>() > 4) continue;
    EXPECT_LE(Figure("error"), totals["error"].get<double>());
  }

  QuantizeFlags quantize;
  quantize.model_dir = flags_.model_dir;
  quantize.out_dir = folder_ / "out";
  quantize.recipe = flags_.out;
  quantize.report = folder_ / "run.json";
  quantize.html = folder_ / "run.html";
  ASSERT_EQ(RunQuantize(quantize, &env_), kExitOk) << err_.str();
  const Json run = Json::parse(quantd::testing::ReadText(quantize.report));
  double error = 0, bits = 0, weights = 0;
  for (const Json& layer : run["tensors"]) {
    const double count = layer["rows"].get<double>() * layer["cols"].get<double>();
    error += count * layer["error"]["weight_relative_error"].get<double>();
    bits += count * layer["all_in_bits_per_weight"].get<double>();
    weights += count;
  }
  const double planned = 2 * (4 * 64 * 64 + 3 * 128 * 64);
  EXPECT_NEAR(error / planned, Figure("error"), 1e-9 * Figure("error"));
  bits += 32 * (planned - weights);  // layers that stayed F32
  EXPECT_NEAR(bits / planned, Figure("bits_per_weight"), 1e-9);
  EXPECT_THAT(quantd::testing::ReadText(quantize.html), HasSubstr("model.layers.0.mlp.down_proj"));
}

TEST_F(PlanTest, AnotherBudgetNeedsNoMeasurementAndAnotherCandidateOnlyItsOwn) {
  flags_.budget_bits = 4;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_EQ(connections_, 1);
  flags_.budget_bits = 3;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_EQ(connections_, 1);
  EXPECT_LE(Figure("bits_per_weight"), 3);
  const size_t before = quantd::testing::ReadText(folder_ / "plan.frontier.jsonl").size();
  flags_.candidates.push_back("rtn:bits=5,group-size=32");
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_EQ(connections_, 2);
  EXPECT_GT(quantd::testing::ReadText(folder_ / "plan.frontier.jsonl").size(), before);
  // The same plan as one that measured everything at once.
  const std::string together = quantd::testing::ReadText(flags_.out);
  flags_.frontier = folder_ / "fresh.jsonl";
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_EQ(quantd::testing::ReadText(flags_.out), together);
}

TEST_F(PlanTest, TheLongestLayersAreMeasuredFirst) {
  flags_.budget_bits = 4;
  flags_.connection.jobs = 1;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  const std::string measured = quantd::testing::ReadText(folder_ / "plan.frontier.jsonl");
  // The model's own order has the MLP of the second layer behind the attention of the first.
  EXPECT_NE(measured.find("self_attn"), std::string::npos);
  EXPECT_LT(measured.rfind(".mlp."), measured.find(".self_attn."));
}

TEST_F(PlanTest, GoalsAreKeptAndTheAchievedIsTold) {
  flags_.size = 150'000;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_LE(report_["model"]["bytes"].get<double>(), 150'000);
  flags_.size.reset();
  flags_.max_error = 0.01;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_LE(Figure("error"), 0.01);
  flags_.max_error.reset();
  flags_.low_share = 0.7;
  flags_.candidates = {"mxint4:group-size=16"};
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_LE(Figure("low_share"), 0.7);
  EXPECT_GT(Figure("low_share"), 0.5);
  EXPECT_EQ(Figure("block"), 16);
}

TEST_F(PlanTest, ABudgetThatCannotBeMetNamesTheNearest) {
  flags_.budget_bits = 1;
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("the smallest plan takes"));
  EXPECT_THAT(err_.str(), HasSubstr("(2.5"));  // 2 bits and half a bit of scales, and shapes
  EXPECT_FALSE(quantd::testing::FileExists(flags_.out));
}

TEST_F(PlanTest, TheLawAnswersALossInItsDomainAlone) {
  flags_.candidates = {"mxint4:group-size=32"};
  flags_.max_loss = std::log(1.1);
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("--extrapolate"));
  EXPECT_THAT(err_.str(), Not(HasSubstr("what was measured")));
  EXPECT_EQ(connections_, 0);  // it is asked before anything is measured
  flags_.billions = 7;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("at most 0.8175 of the weights"));
  EXPECT_LE(Figure("low_share"), 0.8175);
}

TEST_F(PlanTest, RandomDrawsFollowTheSeedAndTheLossThatIsGiven) {
  flags_.candidates = {"mxint4:group-size=32"};
  flags_.low_share = 0.6;
  flags_.trials = 10;
  flags_.seed = 7;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("the best of 10 random draws"));
  EXPECT_LE(Figure("low_share"), 0.6);
  const std::string first = quantd::testing::ReadText(flags_.out);
  ASSERT_EQ(Run(), kExitOk);
  EXPECT_EQ(quantd::testing::ReadText(flags_.out), first);
  // The fewest lines win; a recipe that is asked for again has as many.
  flags_.loss_command = "wc -l <";
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_THAT(err_.str(), HasSubstr("trial 10 of 10: "));
  EXPECT_FALSE(quantd::testing::FileExists(flags_.out + ".trial"));
  flags_.loss_command = "echo nothing; :";
  EXPECT_EQ(Run(), kExitRuntime);
  EXPECT_THAT(err_.str(), HasSubstr("\"nothing\" is not a number"));
  flags_.loss_command = "false";
  EXPECT_EQ(Run(), kExitRuntime);
}

TEST_F(PlanTest, FusedLayersGetOneCandidate) {
  flags_.budget_bits = 3.7;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  std::map<std::string, std::string> chosen;
  for (const Json& layer : report_["layers"]) {
    chosen[layer["module"].get<std::string>()] = layer["chosen"].get<std::string>();
  }
  for (const char* layer : {"0", "1"}) {
    const std::string block = std::string("model.layers.") + layer;
    EXPECT_EQ(chosen[block + ".self_attn.q_proj"], chosen[block + ".self_attn.k_proj"]);
    EXPECT_EQ(chosen[block + ".self_attn.q_proj"], chosen[block + ".self_attn.v_proj"]);
    EXPECT_EQ(chosen[block + ".mlp.gate_proj"], chosen[block + ".mlp.up_proj"]);
  }
}

TEST_F(PlanTest, PathsThatCannotBeWrittenAreKnownFirst) {
  flags_.budget_bits = 4;
  flags_.html = folder_ / "no/such/folder.html";
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("--html: "));
  EXPECT_EQ(connections_, 0);
  flags_.html = "";
  flags_.layout = "compressed-tensors";
  flags_.candidates = {"awq"};
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("column scales"));
  flags_.candidates = {"gptq"};
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("candidate gptq: method gptq needs"));
}

TEST_F(PlanTest, NothingThatIsNeededIsWrittenOver) {
  flags_.budget_bits = 4;
  const std::pair<std::string PlanFlags::*, std::string> cases[] = {
      {&PlanFlags::out, folder_ / "model/model.safetensors"},
      {&PlanFlags::html, folder_ / "model/config.json"},
      {&PlanFlags::html, folder_ / "plan.yaml"},
      {&PlanFlags::frontier, folder_ / "plan.yaml"},
      {&PlanFlags::report, folder_ / "."},
  };
  const std::string weights = quantd::testing::ReadText(folder_ / "model/model.safetensors");
  for (const auto& [flag, path] : cases) {
    const PlanFlags good = flags_;
    flags_.*flag = path;
    EXPECT_EQ(RunPlan(flags_, &env_), kExitBadInput) << path;
    EXPECT_EQ(connections_, 0);
    flags_ = good;
  }
  EXPECT_EQ(quantd::testing::ReadText(folder_ / "model/model.safetensors"), weights);
  EXPECT_THAT(err_.str(), HasSubstr("lies in the model's folder"));
  EXPECT_THAT(err_.str(), HasSubstr("is the file of -o, too"));
}

TEST_F(PlanTest, WishesThatCannotBeAreKnownBeforeAnythingIsMeasured) {
  flags_.budget_bits = 4;
  flags_.min_bits = {"nosuch=4"};
  EXPECT_EQ(Run(), kExitBadInput);
  flags_.min_bits = {"o_proj=5"};
  flags_.max_bits = {"o_proj=7"};
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("leave it nothing from 5 to 7 bits"));
  flags_.min_bits = flags_.max_bits = {};
  flags_.law = "nosuch";
  EXPECT_EQ(Run(), kExitBadInput);
  flags_.law = "qwen1.5-mxint4-pooled";
  flags_.candidates = {"rtn:bits=4,group-size=100"};
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("fits none of 14 layers"));
  EXPECT_EQ(connections_, 0);
}

TEST_F(PlanTest, OnlyRecipesThatOneFolderCanHoldArePlanned) {
  flags_.candidates = {"nf4:group-size=64;fp4:group-size=64"};
  flags_.budget_bits = 4.6;
  flags_.layout = "bitsandbytes";
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("one table and one storage for all modules"));
  flags_.layout = "";
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_EQ(report_["layout"], "plain");
  flags_.budget_bits = 32;
  flags_.report = "";
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("there is nothing to quantize"));
  quantd::testing::WriteText(folder_ / "model/config.json",
                             R"({"model_type":"llama","quantization_config":{"bits":4}})");
  EXPECT_EQ(Run(), kExitBadInput);
  EXPECT_THAT(err_.str(), HasSubstr("quantized already"));
}

// H for most, activations with fewer tokens beside it: each candidate gets what quantize sends.
TEST_F(PlanTest, EachCandidateIsMeasuredWithTheStatisticsThatItIsQuantizedWith) {
  std::vector<quantd::testing::RawTensor> statistics;
  for (const char* layer : {"0", "1"}) {
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                             "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
      const std::string module = std::string("model.layers.") + layer + "." + name;
      const int64_t n = std::string(name) == "mlp.down_proj" ? 128 : 64;
      auto h = quantd::testing::F32(module + ".hessian", {n, n}, 3);
      std::vector<float> square(n * n, 0.0f);
      for (int64_t i = 0; i < n; ++i) square[i * n + i] = 1.0f + static_cast<float>(i % 7);
      h.bytes.assign(reinterpret_cast<const char*>(square.data()), square.size() * 4);
      statistics.push_back(h);
      statistics.push_back(quantd::testing::F32(module + ".activations", {16, n}, 9));
    }
  }
  flags_.statistics = folder_ / "s.safetensors";
  quantd::testing::WriteText(flags_.statistics, quantd::testing::Serialize(statistics));
  flags_.candidates = {"gptq:bits=3,group-size=32;smoothquant:group-size=32"};
  flags_.layout = "plain";
  flags_.budget_bits = 6;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  ExpectQuantizedAsPlanned(flags_.statistics);
}

// A tensor scale that layers share depends on who shares it.
TEST_F(PlanTest, FiguresOfTiedLayersCountForTheirPartnersAlone) {
  flags_.candidates = {"nvfp4"};
  flags_.layout = "plain";
  flags_.budget_bits = 20;
  flags_.exclude = {"q_proj", "up_proj"};
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  flags_.exclude = {};
  flags_.budget_bits = 5;
  ASSERT_EQ(Run(), kExitOk) << err_.str();
  EXPECT_EQ(connections_, 2);
  ExpectQuantizedAsPlanned("");
}

TEST_F(PlanTest, AStopLeavesWhatWasMeasured) {
  flags_.budget_bits = 4;
  env_.connect = [this](const client::ChannelOptions& options) {
    stop_.Stop();
    return client::Connect(options);
  };
  EXPECT_EQ(Run(), kExitInterrupted);
  EXPECT_THAT(err_.str(), HasSubstr("the same command goes on from there"));
}

}  // namespace
}  // namespace quantd::cli
