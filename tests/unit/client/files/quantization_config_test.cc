#include "client/files/quantization_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "absl/strings/match.h"
#include "client/files/output_writer.h"
#include "client/files/spec_json.h"
#include "tests/unit/client/files/planned_run.h"

namespace quantd {
namespace {

using ::quantd::testing::AdditiveSpec;
using ::quantd::testing::GroupSpec;
using ::quantd::testing::PlannedRun;
using ::quantd::testing::RawTensor;
using ::quantd::testing::Serialize;
using ::quantd::testing::TempFolder;
using ::quantd::testing::WriteLlama;
using ::quantd::testing::WriteText;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

Json Make(const std::string& layout, const std::vector<ConfigModule>& modules,
          const std::vector<std::string>& dense = {"lm_head"}) {
  const auto json = MakeQuantizationConfig(layout, modules, dense);
  EXPECT_TRUE(json.ok()) << json.status();
  return json.ok() ? *json : Json();
}

Spec Asymmetric(int64_t group_size) {
  Spec spec = GroupSpec(group_size);
  spec.levels.symmetry = Symmetry::kAsymmetric;
  return spec;
}

Spec Rows(int bits) {
  Spec spec = GroupSpec(128);
  spec.levels.bits = bits;
  spec.partition.granularity = Granularity::kRow;
  return spec;
}

TEST(MakeQuantizationConfig, WritesTheDocumentedCompressedTensorsObject) {
  const Json expected = Json::parse(R"({
    "quant_method": "compressed-tensors", "version": "0.13.0", "format": "pack-quantized",
    "quantization_status": "compressed", "global_compression_ratio": null,
    "kv_cache_scheme": null, "ignore": ["lm_head"], "sparsity_config": {}, "transform_config": {},
    "config_groups": {"group_0": {"targets": ["Linear"],
      "weights": {"num_bits": 4, "type": "int", "symmetric": false, "strategy": "group",
                  "group_size": 128, "dynamic": false, "observer": "minmax"},
      "input_activations": null, "output_activations": null}}})");
  EXPECT_EQ(Make("compressed-tensors", {{"a.0.q", 128, 128, Asymmetric(128), {}}}), expected);
}

TEST(MakeQuantizationConfig, TellsTheVersionThatStoresOddWidthsAsAStream) {
  for (int bits = 2; bits <= 8; ++bits) {
    const Json json = Make("compressed-tensors",
                           {{"a.q", 128, 128, Rows(4), {}}, {"a.k", 128, 128, Rows(bits), {}}});
    const bool divides = bits == 2 || bits == 4 || bits == 8;
    EXPECT_EQ(json["version"], divides ? "0.13.0" : "0.17.0") << bits;
  }
}

TEST(MakeQuantizationConfig, NamesModulesWhenSchemesDiffer) {
  const Json json = Make("compressed-tensors", {{"a.0.q", 128, 128, GroupSpec(128), {}},
                                                {"a.0.down", 128, 128, Rows(8), {}},
                                                {"a.1.q", 128, 128, GroupSpec(128), {}}});
  const Json& groups = json["config_groups"];
  ASSERT_EQ(groups.size(), 2);
  EXPECT_EQ(groups["group_0"]["targets"], Json::parse(R"(["a.0.q","a.1.q"])"));
  EXPECT_EQ(groups["group_1"]["targets"], Json::parse(R"(["a.0.down"])"));
  EXPECT_EQ(groups["group_1"]["weights"]["strategy"], "channel");
  EXPECT_FALSE(groups["group_1"]["weights"].contains("group_size"));
}

TEST(MakeQuantizationConfig, WritesGptq) {
  Json json = Make("gptq", {{"model.layers.0.q", 128, 128, GroupSpec(128), {}}});
  EXPECT_EQ(json["quant_method"], "gptq");
  EXPECT_EQ(json["bits"], 4);
  EXPECT_EQ(json["group_size"], 128);
  EXPECT_EQ(json["sym"], true);
  EXPECT_EQ(json["desc_act"], false);
  EXPECT_EQ(json["checkpoint_format"], "gptq");
  EXPECT_FALSE(json.contains("dynamic"));
  EXPECT_FALSE(json.contains("modules_in_block_to_quantize"));
  EXPECT_FALSE(json.contains("damp_percent"));

  Spec spec = Rows(4);
  spec.solve.solver = Solver::kGptq;
  spec.solve.damping.fraction = 0.05;
  json = Make("gptq-v2", {{"model.layers.0.q", 128, 128, spec, {}}});
  EXPECT_EQ(json["group_size"], -1);
  EXPECT_EQ(json["checkpoint_format"], "gptq_v2");
  EXPECT_EQ(json["format"], "gptq_v2");
  EXPECT_EQ(json["damp_percent"], 0.05);
}

TEST(MakeQuantizationConfig, SetsDescActOnlyWhereGroupsAreNotNeighbours) {
  Spec spec = GroupSpec(64);
  spec.solve.solver = Solver::kGptq;
  spec.solve.order = Order::kActOrder;
  spec.solve.timing = GroupTiming::kStatic;
  EXPECT_EQ(Make("gptq", {{"a.0.q", 128, 128, spec, {}}})["desc_act"], false);
  EXPECT_EQ(Make("gptq", {{"a.0.q", 128, 128, spec, {}}})["static_groups"], true);
  spec.solve.timing = GroupTiming::kDynamic;
  EXPECT_EQ(Make("gptq", {{"a.0.q", 128, 128, spec, {}}})["desc_act"], true);
  spec.solve.order = Order::kNatural;
  EXPECT_EQ(Make("gptq", {{"a.0.q", 128, 128, spec, {}}})["desc_act"], false);
}

TEST(MakeQuantizationConfig, TellsGptqReadersWhichLayersStayDense) {
  const Json json = Make("gptq",
                         {{"model.layers.0.mlp.up", 128, 128, GroupSpec(128), {}},
                          {"model.layers.1.mlp.up", 128, 128, GroupSpec(128), {}},
                          {"model.layers.1.mlp.down", 128, 128, Rows(8), {}}},
                         {"lm_head", "model.layers.0.mlp.gate", "model.layers.1.mlp.gate"});
  EXPECT_EQ(json["modules_in_block_to_quantize"], Json::parse(R"([["mlp.down","mlp.up"]])"));
  const Json& dynamic = json["dynamic"];
  EXPECT_EQ(dynamic.size(), 3);
  EXPECT_TRUE(dynamic.contains(R"(-:^model\.layers\.0\.mlp\.gate$)"));
  EXPECT_EQ(dynamic[R"(+:^model\.layers\.1\.mlp\.down$)"]["bits"], 8);
  EXPECT_EQ(dynamic[R"(+:^model\.layers\.1\.mlp\.down$)"]["group_size"], -1);
  // A layer that is dense in one block only cannot be told that way.
  EXPECT_FALSE(Make("gptq", {{"m.0.up", 128, 128, GroupSpec(128), {}}}, {"m.1.up"})
                   .contains("modules_in_block_to_quantize"));
}

Spec Spqr() {
  Spec spec = GroupSpec(16);
  spec.levels = {LevelKind::kAffineInt, 3, Symmetry::kAsymmetric, ZeroPoint::kReal};
  spec.storage = {StorageKind::kInt, ScaleRounding::kFloor, 3, 16};
  spec.solve = {Solver::kGptq, Order::kActOrder, GroupTiming::kDynamic, Factorization::kCholesky};
  spec.exceptions.outliers = OutlierKind::kThreshold;
  return spec;
}

TEST(MakeQuantizationConfig, WritesTheDocumentedInt8AndFloatObjects) {
  Json json = Make("int-quantized", {{"a.0.q", 128, 128, Rows(8), {}}});
  EXPECT_EQ(json["format"], "int-quantized");
  EXPECT_EQ(json["config_groups"]["group_0"]["weights"], Json::parse(R"({
    "num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel", "dynamic": false,
    "observer": "minmax"})"));
  EXPECT_EQ(json["config_groups"]["group_0"]["input_activations"], Json::parse(R"({
    "num_bits": 8, "type": "int", "symmetric": true, "strategy": "token", "dynamic": true})"));

  Spec spec = Rows(8);
  spec.levels.kind = LevelKind::kMinifloat;
  spec.levels.format = NumberFormat::kE4M3;
  json = Make("float-quantized", {{"a.0.q", 128, 128, spec, {}}});
  EXPECT_EQ(json["config_groups"]["group_0"]["weights"]["type"], "float");
  EXPECT_TRUE(json["config_groups"]["group_0"]["input_activations"].is_null());

  spec = GroupSpec(16);
  spec.levels.kind = LevelKind::kMinifloat;
  spec.storage.kind = StorageKind::kE4M3;
  json = Make("nvfp4-pack-quantized", {{"a.0.q", 128, 128, spec, {}}});
  EXPECT_EQ(json["config_groups"]["group_0"]["weights"], Json::parse(R"({
    "num_bits": 4, "type": "float", "symmetric": true, "strategy": "tensor_group",
    "group_size": 16, "dynamic": false})"));
  spec.partition.group_size = 32;
  spec.storage.kind = StorageKind::kE8M0;
  json = Make("mxfp4-pack-quantized", {{"a.0.q", 128, 128, spec, {}}});
  EXPECT_EQ(json["config_groups"]["group_0"]["weights"], Json::parse(R"({
    "num_bits": 4, "type": "float", "symmetric": true, "strategy": "group", "group_size": 32,
    "dynamic": false, "scale_dtype": "torch.uint8"})"));
}

TEST(MakeQuantizationConfig, WritesTheDocumentedBitsAndBytesObject) {
  Spec spec = GroupSpec(64);
  spec.levels.kind = LevelKind::kFixedTable;
  spec.storage.kind = StorageKind::kNested;
  const std::vector<std::string> dense = {"lm_head"};
  const auto json = MakeQuantizationConfig("bitsandbytes", {{"a.q", 64, 64, spec, {}}}, dense,
                                           Json{{"torch_dtype", "torch.float16"}});
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(*json, Json::parse(R"({
    "quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false,
    "_load_in_4bit": true, "_load_in_8bit": false, "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": true, "bnb_4bit_compute_dtype": "float16",
    "bnb_4bit_quant_storage": "uint8", "llm_int8_threshold": 6.0,
    "llm_int8_skip_modules": ["lm_head"], "llm_int8_enable_fp32_cpu_offload": false,
    "llm_int8_has_fp16_weight": false})"));
  EXPECT_EQ(json->at("llm_int8_threshold").dump(), "6.0");
  Spec other = spec;
  other.levels.table = FixedTable::kFp4;
  const auto mixed = MakeQuantizationConfig(
      "bitsandbytes", {{"a.q", 64, 64, spec, {}}, {"a.k", 64, 64, other, {}}}, dense);
  EXPECT_THAT(std::string(mixed.status().message()), HasSubstr("a.k and a.q differ"));
}

TEST(MakeQuantizationConfig, WritesTheDocumentedSpqrObject) {
  const Json json = Make("spqr", {{"a.q",
                                   32,
                                   64,
                                   Spqr(),
                                   {{".dense_weights", {128}},
                                    {".row_offsets", {33}},
                                    {".col_vals", {5}},
                                    {".in_perm", {32}}}}});
  EXPECT_EQ(json, Json::parse(R"({
    "quant_method": "spqr", "bits": 3, "beta1": 16, "beta2": 16,
    "modules_to_not_convert": ["lm_head.weight", "lm_head"],
    "shapes": {"a.q.dense_weights.shape": 128, "a.q.row_offsets.shape": 33,
               "a.q.col_vals.shape": 5, "a.q.in_perm.shape": 32}})"));
}

TEST(MakeQuantizationConfig, WritesTheDocumentedAqlmObject) {
  Json json = Make("aqlm", {{"a.q", 32, 64, AdditiveSpec(1, 16), {}}});
  EXPECT_EQ(json, Json::parse(R"({
    "quant_method": "aqlm", "nbits_per_codebook": 16, "num_codebooks": 1, "in_group_size": 8,
    "out_group_size": 1, "linear_weights_not_to_quantize": ["lm_head.weight", "lm_head"]})"));
  json = Make("aqlm", {{"a.q", 32, 64, AdditiveSpec(3, 9, 2, 4), {}}}, {"lm_head", "a.k"});
  EXPECT_EQ(json, Json::parse(R"({
    "quant_method": "aqlm", "nbits_per_codebook": 9, "num_codebooks": 3, "in_group_size": 4,
    "out_group_size": 2,
    "linear_weights_not_to_quantize": ["lm_head.weight", "lm_head", "a.k.weight", "a.k"]})"));
}

TEST(MakeQuantizationConfig, AqlmHasOneGeometry) {
  const Spec main = AdditiveSpec(2, 8);
  for (const Spec& other :
       {AdditiveSpec(1, 8), AdditiveSpec(2, 9), AdditiveSpec(2, 8, 2), AdditiveSpec(2, 8, 1, 16)}) {
    const auto mixed =
        MakeQuantizationConfig("aqlm", {{"a.q", 64, 64, main, {}}, {"a.k", 64, 64, other, {}}}, {});
    ASSERT_EQ(mixed.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(mixed.status().message()),
                ::testing::AllOf(HasSubstr("a.k has "), HasSubstr("a.q has 2x8, patches of 1 x 8"),
                                 HasSubstr("layout plain")));
    EXPECT_TRUE(
        MakeQuantizationConfig("plain", {{"a.q", 64, 64, main, {}}, {"a.k", 64, 64, other, {}}}, {})
            .ok());
  }
}

TEST(AdaptModelConfig, AqlmModelsAreLoadedAsF16) {
  const auto adapted = [](absl::string_view layout, const char* text) {
    Json config = Json::parse(text);
    AdaptModelConfig(layout, &config);
    return config.dump();
  };
  EXPECT_EQ(adapted("aqlm", R"({"a":1,"torch_dtype":"bfloat16"})"),
            R"({"a":1,"torch_dtype":"float16"})");
  EXPECT_EQ(adapted("aqlm", R"({"dtype":"float32","a":1})"), R"({"dtype":"float16","a":1})");
  EXPECT_EQ(adapted("aqlm", R"({"dtype":"float32","torch_dtype":null})"),
            R"({"dtype":"float16","torch_dtype":"float16"})");
  EXPECT_EQ(adapted("aqlm", R"({"a":1})"), R"({"a":1,"torch_dtype":"float16"})");
  for (const char* layout : {"plain", "gptq", "spqr", "bitsandbytes"}) {
    EXPECT_EQ(adapted(layout, R"({"dtype":"bfloat16"})"), R"({"dtype":"bfloat16"})");
  }
}

TEST(MakeQuantizationConfig, RefusesAnUnknownLayout) {
  EXPECT_FALSE(MakeQuantizationConfig("gguf", {}, {}).ok());
}

// Writes a folder with the real layouts and reads its config back.
void RoundTrip(const std::string& layout, const Spec& spec,
               const std::function<void(const Spec&)>& check) {
  SCOPED_TRACE(layout);
  PlannedRun run(layout, spec);
  TempFolder scratch;
  const std::string out = scratch / "out";
  auto writer = OutputWriter::Open(run.plan(), run.checkpoint(), out, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (size_t m = 0; m < run.plan().modules().size(); ++m) {
    const auto packed = run.Pack(static_cast<int>(m));
    const absl::Status written =
        (*writer)->WriteModule(static_cast<int>(m), ViewsOf(packed), "{}", &spec);
    ASSERT_TRUE(written.ok()) << written;
  }
  ASSERT_TRUE((*writer)->Finish().ok());

  const auto checkpoint = Checkpoint::Open(out);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto modules = ReadQuantizedModules(*checkpoint);
  ASSERT_TRUE(modules.ok()) << modules.status();
  ASSERT_EQ(modules->size(), run.plan().modules().size());
  for (size_t m = 0; m < modules->size(); ++m) {
    const QuantizedModule& got = (*modules)[m];
    const PlannedModule& want = run.plan().modules()[m];
    EXPECT_EQ(got.module, want.module);
    EXPECT_EQ(got.rows, want.rows);
    EXPECT_EQ(got.cols, want.cols);
    EXPECT_EQ(got.layout->name(), layout);
    EXPECT_EQ(got.spec.levels.bits, spec.levels.bits);
    EXPECT_EQ(got.spec.levels.symmetric(), spec.levels.symmetric());
    EXPECT_EQ(got.spec.partition.GroupColumns(got.cols), spec.partition.GroupColumns(got.cols));
    EXPECT_EQ(got.spec.storage.kind, spec.storage.kind);
    EXPECT_EQ(got.spec.levels.kind, spec.levels.kind);
    const std::vector<PackedView> views = got.Views(*checkpoint);
    EXPECT_TRUE(CheckPacked(*got.layout, got.spec, got.rows, got.cols, views).ok());
    check(got.spec);
  }
}

TEST(ReadQuantizedModules, ReadsBackWhatWasWritten) {
  const auto nothing = [](const Spec&) {};
  for (const char* layout : {"compressed-tensors", "gptq", "gptq-v2", "plain"}) {
    RoundTrip(layout, GroupSpec(32), nothing);
    RoundTrip(layout, Rows(8), nothing);
    if (std::string(layout) != "gptq") RoundTrip(layout, Asymmetric(64), nothing);
  }
  Spec act = GroupSpec(32);
  act.solve.solver = Solver::kGptq;
  act.solve.order = Order::kActOrder;
  act.solve.timing = GroupTiming::kDynamic;
  act.storage.kind = StorageKind::kBF16;
  for (const char* layout : {"gptq", "gptq-v2", "plain"}) {
    RoundTrip(layout, act, [](const Spec& spec) {
      EXPECT_EQ(spec.solve.order, Order::kActOrder);
      EXPECT_EQ(spec.solve.timing, GroupTiming::kDynamic);
    });
  }
  Spec whole = GroupSpec(32);
  whole.partition.granularity = Granularity::kTensor;
  whole.levels.bits = 3;
  whole.levels.symmetry = Symmetry::kSymmetricFullRange;
  whole.storage.kind = StorageKind::kF32;
  RoundTrip("plain", whole, [](const Spec& spec) {
    EXPECT_EQ(spec.levels.symmetry, Symmetry::kSymmetricFullRange);
    EXPECT_EQ(spec.partition.granularity, Granularity::kTensor);
  });
}

TEST(ReadQuantizedModules, ReadsBackTheOtherContainers) {
  const auto kept = [](const Spec& want) {
    return [want](const Spec& got) {
      EXPECT_EQ(got.levels.format, want.levels.format);
      EXPECT_EQ(got.levels.table, want.levels.table);
      EXPECT_EQ(got.levels.real_zero(), want.levels.real_zero());
      EXPECT_EQ(got.partition.granularity, want.partition.granularity);
    };
  };
  RoundTrip("int-quantized", Rows(8), kept(Rows(8)));
  Spec spec = Rows(8);
  spec.levels = {LevelKind::kMinifloat, 8, Symmetry::kSymmetricMinMax, ZeroPoint::kInteger,
                 NumberFormat::kE4M3};
  spec.storage.kind = StorageKind::kF32;
  RoundTrip("float-quantized", spec, kept(spec));
  spec.partition.granularity = Granularity::kTensor;
  RoundTrip("float-quantized", spec, kept(spec));
  spec = GroupSpec(32);
  spec.levels = {LevelKind::kMinifloat, 8, Symmetry::kSymmetricMinMax, ZeroPoint::kInteger,
                 NumberFormat::kE4M3};
  spec.storage.kind = StorageKind::kE8M0;
  RoundTrip("mxfp8-quantized", spec, kept(spec));
  spec.levels = {LevelKind::kMinifloat, 4};
  RoundTrip("mxfp4-pack-quantized", spec, kept(spec));
  spec.storage.kind = StorageKind::kE4M3;
  spec.partition.group_size = 16;
  RoundTrip("nvfp4-pack-quantized", spec, kept(spec));
  for (FixedTable table : {FixedTable::kNf4, FixedTable::kFp4}) {
    for (StorageKind storage : {StorageKind::kF32, StorageKind::kNested}) {
      spec = GroupSpec(64);
      spec.levels.kind = LevelKind::kFixedTable;
      spec.levels.table = table;
      spec.storage.kind = storage;
      RoundTrip("bitsandbytes", spec, kept(spec));
    }
  }
  spec = Spqr();
  RoundTrip("spqr", spec, kept(spec));
}

TEST(ReadQuantizedModules, ReadsBackAdditiveLevels) {
  const auto same = [](const Spec& want) {
    return [want](const Spec& got) {
      EXPECT_EQ(got.levels.codebooks, want.levels.codebooks);
      EXPECT_EQ(got.levels.codebook_bits, want.levels.codebook_bits);
      EXPECT_EQ(got.levels.out_group, want.levels.out_group);
      EXPECT_EQ(got.levels.in_group, want.levels.in_group);
      EXPECT_EQ(got.partition.granularity, want.partition.granularity);
      EXPECT_EQ(got.storage.bits, want.storage.bits);
    };
  };
  for (const Spec& spec : {AdditiveSpec(2, 8), AdditiveSpec(1, 10, 2, 4), AdditiveSpec(4, 3)}) {
    RoundTrip("aqlm", spec, same(spec));
    RoundTrip("plain", spec, same(spec));
    Spec patches = spec;
    patches.partition.granularity = Granularity::kGroup;
    patches.partition.group_size = spec.levels.in_group;
    RoundTrip("plain", patches, same(patches));
    patches.storage.kind = StorageKind::kTable;
    patches.storage.bits = 4;
    RoundTrip("plain", patches, same(patches));
  }
}

TEST(ReadQuantizedModules, PlainKeepsEveryFieldThatIsNotTheDefault) {
  Spec spec = GroupSpec(32);
  spec.method = "owq";
  spec.partition.axis = GroupAxis::kIn;
  spec.levels.symmetry = Symmetry::kAsymmetric;
  spec.levels.zero = ZeroPoint::kReal;
  spec.exceptions.kept_columns = 0.1;
  spec.transform.rotation = RotationKind::kInput;
  spec.transform.rotation_seed = 4294967295u;
  spec.solve.damping.fraction = 1.0 / 3.0;
  RoundTrip("plain", spec, [&](const Spec& got) {
    EXPECT_EQ(WholeSpecToJson(got).dump(), WholeSpecToJson(spec).dump());
  });
  const Json entry = Make("plain", {{"m", 64, 64, spec, {}}})["modules"][0];
  EXPECT_EQ(entry["spec"].size(), 9);
}

// A hand-written folder, as another tool would leave it.
class ForeignFolder : public ::testing::Test {
 protected:
  absl::StatusOr<std::vector<QuantizedModule>> Read(const std::string& quantization_config,
                                                    const std::vector<RawTensor>& tensors) {
    WriteText(dir_ / "config.json", "{\"quantization_config\":" + quantization_config + "}");
    WriteText(dir_ / "model.safetensors", Serialize(tensors));
    checkpoint_ = std::make_unique<Checkpoint>(*Checkpoint::Open(dir_.path()));
    return ReadQuantizedModules(*checkpoint_);
  }

  static RawTensor Zeros(const std::string& name, const std::string& dtype, const Shape& shape,
                         int width) {
    uint64_t bytes = width;
    for (int64_t d : shape) bytes *= d;
    return {name, dtype, shape, std::string(bytes, '\0')};
  }

  static std::vector<RawTensor> Compressed(const std::string& module, int64_t rows, int64_t cols) {
    std::string shape(16, '\0');
    shape[0] = static_cast<char>(rows);
    shape[8] = static_cast<char>(cols);
    return {Zeros(module + ".weight_packed", "I32", {rows, cols / 8}, 4),
            Zeros(module + ".weight_scale", "BF16", {rows, cols / 32}, 2),
            {module + ".weight_shape", "I64", {2}, shape}};
  }

  static std::string Groups(const std::string& targets, const std::string& weights) {
    return R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":)"
           R"({"group_0":{"targets":)" +
           targets + R"(,"weights":)" + weights + "}}}";
  }

  void ExpectRefused(const std::string& config, const std::vector<RawTensor>& tensors,
                     const std::string& message) {
    const auto modules = Read(config, tensors);
    ASSERT_FALSE(modules.ok()) << message;
    EXPECT_THAT(std::string(modules.status().message()), HasSubstr(message));
  }

  const std::string weights_ =
      R"({"num_bits":4,"type":"int","symmetric":true,"strategy":"group","group_size":32,)"
      R"("actorder":"weight","observer_kwargs":{}})";
  TempFolder dir_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(ForeignFolder, MatchesTargetsByPathThenExpressionThenClass) {
  const auto tensors = Compressed("m.0.fc", 32, 64);
  for (const char* targets : {R"(["Linear"])", R"(["re:.*fc$"])", R"(["m.0.fc"])"}) {
    const auto modules = Read(Groups(targets, weights_), tensors);
    ASSERT_TRUE(modules.ok()) << modules.status();
    EXPECT_EQ(modules->at(0).spec.storage.kind, StorageKind::kBF16);
    EXPECT_EQ(modules->at(0).spec.partition.group_size, 32);
  }
  // The expression is matched from the start of the path only.
  ExpectRefused(Groups(R"(["re:fc"])", weights_), tensors, "no target matches module 'm.0.fc'");
  const auto several =
      Read(R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{)"
           R"("a":{"targets":["m.0.fc"],"weights":)" +
               weights_ +
               R"(},"b":{"targets":["Linear"],"weights":{"num_bits":8,"strategy":"channel"}}}})",
           tensors);
  ASSERT_TRUE(several.ok()) << several.status();
  EXPECT_EQ(several->at(0).spec.levels.bits, 4);
}

TEST_F(ForeignFolder, RefusesConfigsThatDoNotFitTheTensors) {
  const auto good = Compressed("m.0.fc", 32, 64);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = weights_;
    text.replace(text.find(from), from.size(), to);
    return Groups(R"(["Linear"])", text);
  };
  ExpectRefused(with(":4", ":9"), good, "num_bits: 9");
  ExpectRefused(with(":4", ":\"4\""), good, "num_bits: is not an integer");
  ExpectRefused(with(":4", ":8"), good,
                "'m.0.fc.weight_packed' is I32[32, 8], expected I32[32, 16]");
  ExpectRefused(with(":32", ":16"), good, "weight_scale");
  ExpectRefused(with(":32", ":0"), good, "group_size: 0");
  ExpectRefused(with("true", "false"), good, "'m.0.fc.weight_zero_point' is missing");
  ExpectRefused(with("\"group\"", "\"block\""), good, "strategy: 'block'");
  ExpectRefused(with("\"int\"", "\"float\""), good, "levels = minifloat");
  const std::string config = Groups(R"(["Linear"])", weights_);
  auto tensors = good;
  tensors.push_back(Zeros("m.0.fc.weight_g_idx", "I32", {64}, 4));
  ExpectRefused(config, tensors, "weight_g_idx");
  tensors = good;
  tensors[2].bytes[7] = '\x80';
  ExpectRefused(config, tensors, "weight_shape");
  tensors = good;
  tensors.erase(tensors.begin() + 2);
  ExpectRefused(config, tensors, "'m.0.fc.weight_shape': is not an I64[2]");
  ExpectRefused(config, {}, "no tensor of that kind");
  ExpectRefused(Groups("3", weights_), good, "targets: is not an array");
  ExpectRefused(Groups(R"(["re:("])", weights_), good, "bad regular expression");
  ExpectRefused(R"({"quant_method":"awq"})", good, "quant_method: 'awq'");
  ExpectRefused("{}", good, "quant_method: is missing");
  ExpectRefused("null", good, "not quantized");
}

TEST_F(ForeignFolder, ReadsGptqWithOverrides) {
  const auto tensors = [](const std::string& module, int bits) -> std::vector<RawTensor> {
    return {Zeros(module + ".qweight", "I32", {64 * bits / 32, 32}, 4),
            Zeros(module + ".qzeros", "I32", {1, bits}, 4),
            Zeros(module + ".scales", "F16", {1, 32}, 2), Zeros(module + ".g_idx", "I32", {64}, 4)};
  };
  std::vector<RawTensor> all = tensors("m.0.fc", 4);
  for (const RawTensor& t : tensors("m.1.fc", 8)) all.push_back(t);
  const std::string config =
      R"({"quant_method":"gptq","bits":4,"group_size":-1,"desc_act":false,"sym":true,)"
      R"("dynamic":{"-:m\\.2\\..*":{},"+:m\\.1\\..*":{"bits":8}}})";
  const auto modules = Read(config, all);
  ASSERT_TRUE(modules.ok()) << modules.status();
  ASSERT_EQ(modules->size(), 2);
  EXPECT_EQ(modules->at(0).spec.levels.bits, 4);
  EXPECT_EQ(modules->at(1).spec.levels.bits, 8);
  EXPECT_EQ(modules->at(1).cols, 64);
  EXPECT_EQ(modules->at(1).rows, 32);
  EXPECT_EQ(modules->at(1).layout->name(), "gptq");

  ExpectRefused(R"({"quant_method":"gptq","bits":4,"checkpoint_format":"gptq_p"})", all, "gptq_p");
  ExpectRefused(R"({"quant_method":"gptq","group_size":32})", all, "bits: is missing");
  ExpectRefused(R"({"quant_method":"gptq","bits":4,"dynamic":{"(":{}}})", all,
                "bad regular expression");
  ExpectRefused(R"({"quant_method":"gptq","bits":4,"sym":1})", all, "sym: is not true or false");
}

TEST_F(ForeignFolder, ReadsAqlmAndRefusesWhatDoesNotFit) {
  const auto tensors = [](const std::string& module, int64_t rows, int64_t cols) {
    return std::vector<RawTensor>{Zeros(module + ".codes", "I8", {rows / 2, cols / 8, 3}, 1),
                                  Zeros(module + ".codebooks", "F16", {3, 16, 2, 8}, 2),
                                  Zeros(module + ".scales", "F16", {rows / 2, 1, 1, 1}, 2),
                                  Zeros(module + ".bias", "F16", {rows}, 2)};
  };
  std::vector<RawTensor> all = tensors("m.0.fc", 6, 32);
  for (const RawTensor& t : tensors("m.1.fc", 64, 8)) all.push_back(t);
  const std::string good =
      R"({"quant_method":"aqlm","nbits_per_codebook":4,"num_codebooks":3,"in_group_size":8,)"
      R"("out_group_size":2,"linear_weights_not_to_quantize":null})";
  const auto modules = Read(good, all);
  ASSERT_TRUE(modules.ok()) << modules.status();
  ASSERT_EQ(modules->size(), 2);
  EXPECT_EQ(modules->at(0).rows, 6);
  EXPECT_EQ(modules->at(0).cols, 32);
  EXPECT_EQ(modules->at(1).rows, 64);
  EXPECT_EQ(modules->at(1).cols, 8);
  EXPECT_EQ(modules->at(0).spec.levels.codebook_bits, 4);
  EXPECT_EQ(modules->at(0).layout->name(), "aqlm");

  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  ExpectRefused(with("codebook\":4", "codebook\":17"), all, "nbits_per_codebook: 17");
  ExpectRefused(with("codebook\":4", "codebook\":9"), all,
                "'m.0.fc.codes' is I8[3, 4, 3], expected I16[3, 4, 3]");
  ExpectRefused(with("codebooks\":3", "codebooks\":0"), all, "num_codebooks: 0");
  ExpectRefused(with("codebooks\":3", "codebooks\":2"), all, "expected I8[3, 4, 2]");
  ExpectRefused(with("in_group_size\":8", "in_group_size\":4"), all, "m.0.fc.codebooks");
  ExpectRefused(with("out_group_size\":2", "out_group_size\":65"), all, "out_group_size: 65");
  ExpectRefused(with("\"num_codebooks\":3,", ""), all, "num_codebooks: is missing");
  auto damaged = all;
  damaged[0].shape = {12, 3};
  ExpectRefused(good, damaged, "m.0.fc: codes: shape [12, 3]");
  damaged = all;
  damaged.erase(damaged.begin() + 1);
  ExpectRefused(good, damaged, "'m.0.fc.codebooks' is missing");
  damaged = all;
  damaged.push_back(Zeros("m.0.fc.weight", "F16", {6, 32}, 2));
  ExpectRefused(good, damaged, "'m.0.fc.weight' is stored");
}

TEST_F(ForeignFolder, RefusesDamagedPlainConfigs) {
  const std::vector<RawTensor> tensors = {Zeros("fc.codes", "U8", {4, 2}, 1),
                                          Zeros("fc.scales", "F32", {4, 1}, 4)};
  const auto config = [](const std::string& entry) {
    return R"({"quant_method":"quantd-plain","version":2,"modules":[)" + entry + "]}";
  };
  const std::string good = R"({"module":"fc","rows":4,"cols":4,"spec":{"method":"rtn","bits":4,)"
                           R"("symmetry":"symmetric-absmax","granularity":"row","storage":"f32"}})";
  ASSERT_TRUE(Read(config(good), tensors).ok());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return config(text);
  };
  ExpectRefused(with("\"rows\":4", "\"rows\":0"), tensors, "rows");
  ExpectRefused(with("\"rows\":4", "\"rows\":9223372036854775807"), tensors, "rows, cols");
  ExpectRefused(with("\"rows\":4", "\"rows\":18446744073709551615"), tensors, "not an integer");
  ExpectRefused(with("absmax", "other"), tensors, "symmetry: 'symmetric-other'");
  ExpectRefused(with("\"row\"", "\"block\""), tensors, "granularity: 'block'");
  ExpectRefused(with("\"f32\"", "\"f33\""), tensors, "storage: 'f33'");
  ExpectRefused(with("\"f32\"", "\"f16\""), tensors,
                "'fc.scales' is F32[4, 1], expected F16[4, 1]");
  ExpectRefused(with("\"bits\":4", "\"bits\":9"), tensors, "bits");
  ExpectRefused(with("\"bits\":4", "\"bitz\":4"), tensors, "bitz: is no field");
  ExpectRefused(with("\"bits\":4", "\"bits\":\"4\""), tensors, "bits: is not a number");
  ExpectRefused(with("\"granularity\":\"row\"", "\"group-axis\":\"adaptive\""), tensors,
                "adaptive axis open");
  ExpectRefused(with("\"fc\"", "\"fd\""), tensors, "'fd.codes' is missing");
  ExpectRefused(config(good + "," + good), tensors, "appears twice");
  ExpectRefused(config("3"), tensors, "module: is missing");
}

}  // namespace
}  // namespace quantd
