#include "client/files/output_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>

#include "absl/strings/match.h"
#include "tests/unit/client/files/model_folder.h"
#include "tests/unit/client/files/planned_run.h"

namespace quantd {
namespace {

using ::quantd::testing::AdditiveSpec;
using ::quantd::testing::F32;
using ::quantd::testing::GroupSpec;
using ::quantd::testing::PlannedRun;
using ::quantd::testing::Serialize;
using ::quantd::testing::TempFolder;
using ::quantd::testing::WriteText;
using ::testing::HasSubstr;

TEST(OutputPlan, ReplacesEachSelectedWeightByItsCompleteSet) {
  PlannedRun run;
  std::set<std::string> names;
  for (const PlannedTensor& t : run.plan().tensors()) names.insert(t.name);
  for (const CheckpointTensor& t : run.checkpoint().tensors()) {
    const bool linear = absl::StrContains(t.name(), "_proj.weight");
    EXPECT_EQ(names.count(t.name()), linear ? 0 : 1) << t.name();
  }
  for (const PlannedModule& m : run.plan().modules()) {
    for (const char* suffix : {".weight_packed", ".weight_scale", ".weight_shape"}) {
      EXPECT_EQ(names.count(m.module + suffix), 1) << m.module << suffix;
    }
    EXPECT_EQ(m.tensors.size(), m.decls.size());
  }
  EXPECT_EQ(run.plan().modules().size(), 14);
  EXPECT_EQ(names.size(), 14 * 3 + 9);
}

TEST(OutputPlan, TilesEveryFileAndKeepsModulesTogether) {
  OutputOptions options;
  options.max_shard_bytes = 12000;
  PlannedRun run("compressed-tensors", GroupSpec(32), options);
  const OutputPlan& plan = run.plan();
  ASSERT_GT(plan.files().size(), 3);
  std::map<int, std::map<uint64_t, uint64_t>> spans;  // file -> begin -> end
  std::map<std::string, std::set<int>> files_of;
  for (const PlannedTensor& t : plan.tensors()) {
    ASSERT_TRUE(spans[t.file].emplace(t.offset, t.offset + t.bytes).second);
    files_of[t.name.substr(0, t.name.rfind('.'))].insert(t.file);
  }
  for (const auto& [module, files] : files_of) EXPECT_EQ(files.size(), 1) << module;
  for (size_t f = 0; f < plan.files().size(); ++f) {
    uint64_t at = plan.files()[f].header.size();
    EXPECT_EQ(at % 8, 0);
    for (const auto& [begin, end] : spans[static_cast<int>(f)]) {
      EXPECT_EQ(begin, at);
      at = end;
    }
    EXPECT_EQ(at, plan.files()[f].size);
  }
  const auto index = nlohmann::json::parse(plan.IndexJson());
  EXPECT_EQ(index["metadata"]["total_size"], plan.TensorBytes());
  EXPECT_EQ(index["weight_map"].size(), plan.tensors().size());
  EXPECT_EQ(index["weight_map"]["model.norm.weight"], plan.files().back().name);
  EXPECT_THAT(plan.files()[0].name, HasSubstr("model-00001-of-0000"));
}

TEST(OutputPlan, SingleFileHasNoIndex) {
  PlannedRun run;
  EXPECT_EQ(run.plan().IndexJson(), "");
  EXPECT_EQ(run.plan().files()[0].name, "model.safetensors");
}

TEST(OutputPlan, ChangesOnlyTheQuantizationConfig) {
  PlannedRun run("gptq", GroupSpec(32));
  auto config = nlohmann::ordered_json::parse(run.plan().config_json());
  EXPECT_EQ(config["quantization_config"],
            nlohmann::ordered_json::parse(run.plan().quantize_config_json()));
  config.erase("quantization_config");
  EXPECT_EQ(config, run.checkpoint().config());
  EXPECT_EQ(PlannedRun().plan().quantize_config_json(), "");
}

// Readers load codebooks and scales as the model's dtype, which must hold them exactly.
TEST(OutputPlan, AqlmAlsoSetsTheModelsDType) {
  PlannedRun run("aqlm", AdditiveSpec(2, 4));
  auto config = nlohmann::ordered_json::parse(run.plan().config_json());
  EXPECT_EQ(config["quantization_config"]["quant_method"], "aqlm");
  EXPECT_EQ(config["quantization_config"]["linear_weights_not_to_quantize"],
            nlohmann::ordered_json::parse(R"(["lm_head.weight", "lm_head"])"));
  config.erase("quantization_config");
  nlohmann::ordered_json source = run.checkpoint().config();
  EXPECT_NE(config, source);
  AdaptModelConfig("aqlm", &source);
  EXPECT_EQ(config, source);
  EXPECT_EQ(run.plan().quantize_config_json(), "");
  // Tensors that are not quantized are copied, whatever the dtype says.
  for (const PlannedTensor& t : run.plan().tensors()) {
    if (t.source < 0) continue;
    EXPECT_EQ(t.dtype_name, run.checkpoint().tensors()[t.source].stored->dtype_name);
  }
}

TEST(OutputPlan, AqlmRefusesTwoGeometriesBeforeAnyWork) {
  TempFolder dir;
  WriteText(dir / "config.json", "{}");
  WriteText(dir / "model.safetensors",
            Serialize({F32("a.0.fc.weight", {32, 32}, 1), F32("a.1.fc.weight", {32, 32}, 2)}));
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto plan = [&](const std::string& name) {
    const Layout& layout = **FindLayout(name);
    const auto selection = SelectTensors(
        *checkpoint, {},
        [](const std::string& module, int64_t, int64_t) {
          return std::optional<Spec>(AdditiveSpec(2, absl::StrContains(module, "a.0") ? 4 : 3));
        },
        layout);
    return OutputPlan::ForQuantize(*checkpoint, *selection, layout, {}).status();
  };
  EXPECT_THAT(std::string(plan("aqlm").message()),
              HasSubstr("a.1.fc has 2x3, patches of 1 x 8 and a.0.fc has 2x4"));
  EXPECT_TRUE(plan("plain").ok());
}

TEST(OutputPlan, DigestCoversSpecLayoutShardsAndInputs) {
  const auto digest = [](const std::string& layout, const Spec& spec,
                         const OutputOptions& options = {}) {
    return PlannedRun(layout, spec, options).plan().digest();
  };
  const Digest base = digest("gptq", GroupSpec(32));
  EXPECT_EQ(base, digest("gptq", GroupSpec(32)));
  EXPECT_NE(base, digest("gptq-v2", GroupSpec(32)));
  EXPECT_NE(base, digest("gptq", GroupSpec(64)));
  Spec other = GroupSpec(32);
  other.solve.damping.fraction = 0.02;
  EXPECT_NE(base, digest("gptq", other));
  OutputOptions options;
  options.inputs = "statistics 1234";
  EXPECT_NE(base, digest("gptq", GroupSpec(32), options));
  options = {};
  options.max_shard_bytes = 12000;
  EXPECT_NE(base, digest("gptq", GroupSpec(32), options));
}

absl::Status PlanStatus(const std::string& config, const std::vector<testing::RawTensor>& tensors) {
  TempFolder dir;
  WriteText(dir / "config.json", config);
  WriteText(dir / "model.safetensors", Serialize(tensors));
  const auto checkpoint = Checkpoint::Open(dir.path());
  if (!checkpoint.ok()) return checkpoint.status();
  const Layout& layout = **FindLayout("compressed-tensors");
  const auto selection = SelectTensors(
      *checkpoint, {},
      [](const std::string&, int64_t, int64_t) { return std::optional<Spec>(GroupSpec(32)); },
      layout);
  if (!selection.ok()) return selection.status();
  return OutputPlan::ForQuantize(*checkpoint, *selection, layout, {}).status();
}

TEST(OutputPlan, RefusesSourcesThatItWouldDamage) {
  const auto fc = F32("a.fc.weight", {32, 32}, 1);
  EXPECT_TRUE(PlanStatus("{}", {fc}).ok());
  EXPECT_THAT(std::string(PlanStatus(R"({"quantization_config":{}})", {fc}).message()),
              HasSubstr("quantized already"));
  EXPECT_THAT(std::string(PlanStatus("{}", {F32("a.norm.weight", {32}, 1)}).message()),
              HasSubstr("no tensor is selected"));
  EXPECT_THAT(std::string(PlanStatus("{}", {fc, F32("a.fc.weight_scale", {32, 1}, 1)}).message()),
              HasSubstr("'a.fc.weight_scale'"));
}

TEST(OutputPlan, DtypesThatAreOnlyCopiedKeepTheirNameAndSize) {
  TempFolder dir;
  WriteText(dir / "config.json", "{}");
  WriteText(dir / "model.safetensors", Serialize({F32("a.fc.weight", {32, 32}, 1),
                                                  {"scales", "F8_E8M0", {3}, "abc"},
                                                  {"nibbles", "F4", {2, 3}, "xyz"}}));
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const Layout& layout = **FindLayout("plain");
  const auto selection = SelectTensors(
      *checkpoint, {},
      [](const std::string&, int64_t, int64_t) { return std::optional<Spec>(GroupSpec(32)); },
      layout);
  const auto plan = OutputPlan::ForQuantize(*checkpoint, *selection, layout, {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->files()[0].header, HasSubstr(R"("nibbles":{"dtype":"F4","shape":[2,3])"));
  EXPECT_THAT(plan->files()[0].header, HasSubstr(R"("scales":{"dtype":"F8_E8M0","shape":[3])"));
}

}  // namespace
}  // namespace quantd
