#include "client/files/quantization_config.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/files/spec_json.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

using Json = nlohmann::ordered_json;

// What loaders distinguish: bits, symmetric, granularity, group size, group index per column.
using Scheme = std::tuple<int, bool, Granularity, int64_t, bool>;

// True where columns of one group need not be neighbours, so that the file holds a group index.
bool HasGroupIndex(const Spec& spec, int64_t cols) {
  return spec.solve.solver == Solver::kGptq && spec.solve.timing == GroupTiming::kDynamic &&
         spec.solve.order != Order::kNatural && spec.partition.GroupsPerRow(cols) > 1;
}

Scheme SchemeOf(const ConfigModule& module) {
  const Partition& p = module.spec.partition;
  return {module.spec.levels.bits, module.spec.levels.symmetric(), p.granularity,
          p.granularity == Granularity::kGroup ? p.group_size : -1,
          HasGroupIndex(module.spec, module.cols)};
}

// Modules by scheme, in the order in which the schemes first appear.
std::vector<std::vector<const ConfigModule*>> ByScheme(absl::Span<const ConfigModule> modules) {
  std::vector<std::vector<const ConfigModule*>> out;
  std::map<Scheme, size_t> at;
  for (const ConfigModule& module : modules) {
    const auto [it, fresh] = at.try_emplace(SchemeOf(module), out.size());
    if (fresh) out.emplace_back();
    out[it->second].push_back(&module);
  }
  return out;
}

bool IsFloat(const Spec& spec) { return spec.levels.kind == LevelKind::kMinifloat; }

Json CompressedTensorsWeights(absl::string_view format, const Spec& spec) {
  Json weights;
  weights["num_bits"] = spec.levels.bits;
  weights["type"] = IsFloat(spec) ? "float" : "int";
  weights["symmetric"] = spec.levels.symmetric();
  switch (spec.partition.granularity) {
    case Granularity::kTensor:
      weights["strategy"] = "tensor";
      break;
    case Granularity::kGroup:
      weights["strategy"] = format == "nvfp4-pack-quantized" ? "tensor_group" : "group";
      weights["group_size"] = spec.partition.group_size;
      break;
    default:
      weights["strategy"] = "channel";
      break;
  }
  weights["dynamic"] = false;
  if (spec.storage.kind == StorageKind::kE8M0) {
    weights["scale_dtype"] = "torch.uint8";
  } else if (spec.storage.kind != StorageKind::kE4M3) {
    weights["observer"] = "minmax";
  }
  return weights;
}

// Readers take 8-bit integer weights only together with 8-bit inputs, which need no calibration
// when each token gets its own scale. All other formats are read as weights alone.
Json InputActivations(absl::string_view format) {
  if (format != "int-quantized") return nullptr;
  return {{"num_bits", 8},
          {"type", "int"},
          {"symmetric", true},
          {"strategy", "token"},
          {"dynamic", true}};
}

Json CompressedTensors(absl::string_view format, absl::Span<const ConfigModule> quantized,
                       absl::Span<const std::string> dense_linears) {
  Json out;
  out["quant_method"] = "compressed-tensors";
  // Codes that do not divide a word are stored since this version as one stream of bits; widths
  // that do are the same in all.
  const bool stream = std::any_of(quantized.begin(), quantized.end(), [](const ConfigModule& m) {
    return m.spec.levels.affine() && 32 % m.spec.levels.bits != 0;
  });
  out["version"] = stream ? "0.17.0" : "0.13.0";
  out["format"] = format;
  out["quantization_status"] = "compressed";
  out["global_compression_ratio"] = nullptr;
  out["kv_cache_scheme"] = nullptr;
  out["ignore"] = Json::array();
  for (const std::string& module : dense_linears) out["ignore"].push_back(module);
  out["sparsity_config"] = Json::object();
  out["transform_config"] = Json::object();
  Json& groups = out["config_groups"] = Json::object();
  const auto schemes = ByScheme(quantized);
  for (size_t i = 0; i < schemes.size(); ++i) {
    Json& group = groups[absl::StrCat("group_", i)];
    Json targets = Json::array();
    if (schemes.size() == 1) {
      targets.push_back("Linear");
    } else {
      for (const ConfigModule* module : schemes[i]) targets.push_back(module->module);
    }
    group["targets"] = std::move(targets);
    group["weights"] = CompressedTensorsWeights(format, schemes[i].front()->spec);
    group["input_activations"] = InputActivations(format);
    group["output_activations"] = nullptr;
  }
  return out;
}

// A regular expression that matches `module` and nothing else.
std::string ExactPattern(const std::string& module) {
  std::string out = "^";
  for (char c : module) {
    if (!absl::ascii_isalnum(c) && c != '_' && static_cast<unsigned char>(c) < 0x80) out += '\\';
    out += c;
  }
  return out + "$";
}

// "model.layers.3" and "self_attn.q_proj" of "model.layers.3.self_attn.q_proj"; both empty for a
// module outside numbered blocks.
std::pair<std::string, std::string> SplitBlock(const std::string& module) {
  size_t at = 0;
  while ((at = module.find('.', at)) != std::string::npos) {
    const size_t end = module.find('.', at + 1);
    if (end == std::string::npos) break;
    const std::string word = module.substr(at + 1, end - at - 1);
    if (!word.empty() && std::all_of(word.begin(), word.end(), absl::ascii_isdigit)) {
      return {module.substr(0, end), module.substr(end + 1)};
    }
    at = end;
  }
  return {};
}

// Readers that quantize every linear layer of a block need the list of those that are; it holds for
// all blocks alike. Null when nothing inside the blocks stays dense, or when blocks differ.
Json ModulesInBlock(absl::Span<const ConfigModule> quantized,
                    absl::Span<const std::string> dense_linears) {
  std::set<std::string> inside, left;
  for (const ConfigModule& module : quantized) {
    const std::string name = SplitBlock(module.module).second;
    if (name.empty()) return nullptr;
    inside.insert(name);
  }
  for (const std::string& module : dense_linears) {
    const std::string name = SplitBlock(module).second;
    if (!name.empty()) left.insert(name);
  }
  if (left.empty()) return nullptr;
  for (const std::string& name : left) {
    if (inside.count(name) != 0) return nullptr;
  }
  Json names = Json::array();
  for (const std::string& name : inside) names.push_back(name);
  return Json::array({std::move(names)});
}

int64_t GptqGroupSize(const Spec& spec) {
  return spec.partition.granularity == Granularity::kGroup ? spec.partition.group_size : -1;
}

Json Gptq(absl::string_view checkpoint_format, absl::Span<const ConfigModule> quantized,
          absl::Span<const std::string> dense_linears) {
  auto schemes = ByScheme(quantized);
  // The most frequent scheme is the rule, the others are exceptions to it.
  std::stable_sort(schemes.begin(), schemes.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
  const ConfigModule& main = *schemes.front().front();
  const Solve& solve = main.spec.solve;
  const bool is_gptq = solve.solver == Solver::kGptq;
  Json out;
  out["quant_method"] = "gptq";
  out["bits"] = main.spec.levels.bits;
  out["group_size"] = GptqGroupSize(main.spec);
  out["desc_act"] = HasGroupIndex(main.spec, main.cols);
  out["sym"] = main.spec.levels.symmetric();
  out["lm_head"] = false;
  out["checkpoint_format"] = checkpoint_format;
  out["format"] = checkpoint_format;
  out["pack_dtype"] = "int32";
  out["true_sequential"] = false;
  out["static_groups"] =
      is_gptq && solve.order != Order::kNatural && solve.timing == GroupTiming::kStatic;
  if (is_gptq && solve.damping.fraction > 0 && solve.damping.fraction < 1) {
    out["damp_percent"] = solve.damping.fraction;
  }
  out["meta"]["quantizer"] = Json::array({absl::StrCat("quantd:", QUANTD_VERSION)});

  Json dynamic = Json::object();
  for (size_t i = 1; i < schemes.size(); ++i) {
    for (const ConfigModule* module : schemes[i]) {
      Json& rule = dynamic[absl::StrCat("+:", ExactPattern(module->module))];
      rule["bits"] = module->spec.levels.bits;
      rule["group_size"] = GptqGroupSize(module->spec);
      rule["sym"] = module->spec.levels.symmetric();
      rule["desc_act"] = HasGroupIndex(module->spec, module->cols);
    }
  }
  // Only layers inside the blocks: readers leave the others alone by themselves.
  for (const std::string& module : dense_linears) {
    if (SplitBlock(module).second.empty()) continue;
    dynamic[absl::StrCat("-:", ExactPattern(module))] = Json::object();
  }
  if (!dynamic.empty()) out["dynamic"] = std::move(dynamic);
  Json in_block = ModulesInBlock(quantized, dense_linears);
  if (!in_block.is_null()) out["modules_in_block_to_quantize"] = std::move(in_block);
  return out;
}

Json Plain(absl::Span<const ConfigModule> quantized, absl::Span<const std::string> dense_linears) {
  Json out;
  out["quant_method"] = "quantd-plain";
  out["version"] = 2;
  out["ignore"] = Json::array();
  for (const std::string& module : dense_linears) out["ignore"].push_back(module);
  Json& modules = out["modules"] = Json::array();
  for (const ConfigModule& m : quantized) {
    modules.push_back(
        {{"module", m.module}, {"rows", m.rows}, {"cols", m.cols}, {"spec", SpecToJson(m.spec)}});
  }
  return out;
}

// "bfloat16" of "torch.bfloat16"; what the model computes in.
std::string ComputeDType(const Json& model_config) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    const auto it = model_config.find(key);
    if (it == model_config.end() || !it->is_string()) continue;
    absl::string_view name = it->get_ref<const std::string&>();
    absl::ConsumePrefix(&name, "torch.");
    if (name == "bfloat16" || name == "float16" || name == "float32") return std::string(name);
  }
  return "bfloat16";
}

absl::StatusOr<Json> BitsAndBytes(absl::Span<const ConfigModule> quantized,
                                  absl::Span<const std::string> dense_linears,
                                  const Json& model_config) {
  const Spec& main = quantized.front().spec;
  for (const ConfigModule& m : quantized) {
    if (m.spec.levels.table == main.levels.table && m.spec.storage.kind == main.storage.kind) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("layout bitsandbytes: one table and one storage for all modules, but ",
                     m.module, " and ", quantized.front().module, " differ"));
  }
  Json skip = Json::array();
  for (const std::string& module : dense_linears) skip.push_back(module);
  return Json{{"quant_method", "bitsandbytes"},
              {"load_in_4bit", true},
              {"load_in_8bit", false},
              {"_load_in_4bit", true},
              {"_load_in_8bit", false},
              {"bnb_4bit_quant_type", main.levels.table == FixedTable::kFp4 ? "fp4" : "nf4"},
              {"bnb_4bit_use_double_quant", main.storage.kind == StorageKind::kNested},
              {"bnb_4bit_compute_dtype", ComputeDType(model_config)},
              {"bnb_4bit_quant_storage", "uint8"},
              {"llm_int8_threshold", 6.0},
              {"llm_int8_skip_modules", skip.empty() ? Json(nullptr) : skip},
              {"llm_int8_enable_fp32_cpu_offload", false},
              {"llm_int8_has_fp16_weight", false}};
}

Json Spqr(absl::Span<const ConfigModule> quantized, absl::Span<const std::string> dense_linears) {
  const Spec& main = quantized.front().spec;
  Json out = {{"quant_method", "spqr"},
              {"bits", main.levels.bits},
              {"beta1", main.partition.group_size},
              {"beta2", main.storage.super_group}};
  // Some readers compare with the tensor's name, some with the module's.
  Json& keep = out["modules_to_not_convert"] = Json::array();
  for (const std::string& module : dense_linears) {
    keep.push_back(absl::StrCat(module, ".weight"));
    keep.push_back(module);
  }
  Json& shapes = out["shapes"] = Json::object();
  for (const ConfigModule& m : quantized) {
    for (const auto& [suffix, shape] : m.stored) {
      if (shape.size() == 1) shapes[absl::StrCat(m.module, suffix, ".shape")] = shape[0];
    }
  }
  return out;
}

// "2x8, patches of 1 x 8".
std::string PatchText(const Levels& levels) {
  return absl::StrCat(levels.codebooks, "x", levels.codebook_bits, ", patches of ",
                      levels.out_group, " x ", levels.in_group);
}

absl::StatusOr<Json> Aqlm(absl::Span<const ConfigModule> quantized,
                          absl::Span<const std::string> dense_linears) {
  const Levels& main = quantized.front().spec.levels;
  for (const ConfigModule& m : quantized) {
    const Levels& levels = m.spec.levels;
    if (levels.codebooks == main.codebooks && levels.codebook_bits == main.codebook_bits &&
        levels.out_group == main.out_group && levels.in_group == main.in_group) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("layout aqlm: one geometry for all modules, but ", m.module, " has ",
                     PatchText(levels), " and ", quantized.front().module, " has ", PatchText(main),
                     "; layout plain can hold both"));
  }
  Json out = {{"quant_method", "aqlm"},
              {"nbits_per_codebook", main.codebook_bits},
              {"num_codebooks", main.codebooks},
              {"in_group_size", main.in_group},
              {"out_group_size", main.out_group}};
  // Some readers compare with the tensor's name, some with the module's; all replace every linear
  // layer that is not listed.
  Json& keep = out["linear_weights_not_to_quantize"] = Json::array();
  for (const std::string& module : dense_linears) {
    keep.push_back(absl::StrCat(module, ".weight"));
    keep.push_back(module);
  }
  return out;
}

}  // namespace

void AdaptModelConfig(absl::string_view layout, Json* model_config) {
  if (layout != "aqlm") return;
  bool found = false;
  for (const char* key : {"dtype", "torch_dtype"}) {
    const auto it = model_config->find(key);
    if (it == model_config->end()) continue;
    *it = "float16";
    found = true;
  }
  if (!found) (*model_config)["torch_dtype"] = "float16";
}

absl::StatusOr<Json> MakeQuantizationConfig(absl::string_view layout,
                                            absl::Span<const ConfigModule> quantized,
                                            absl::Span<const std::string> dense_linears,
                                            const Json& model_config) {
  if (layout == "compressed-tensors") {
    return CompressedTensors("pack-quantized", quantized, dense_linears);
  }
  for (const char* format : {"int-quantized", "float-quantized", "nvfp4-pack-quantized",
                             "mxfp4-pack-quantized", "mxfp8-quantized"}) {
    if (layout == format) return CompressedTensors(format, quantized, dense_linears);
  }
  if (layout == "gptq") return Gptq("gptq", quantized, dense_linears);
  if (layout == "gptq-v2") return Gptq("gptq_v2", quantized, dense_linears);
  if (layout == "bitsandbytes") return BitsAndBytes(quantized, dense_linears, model_config);
  if (layout == "spqr") return Spqr(quantized, dense_linears);
  if (layout == "aqlm") return Aqlm(quantized, dense_linears);
  if (layout == "plain") return Plain(quantized, dense_linears);
  return absl::InvalidArgumentError(absl::StrCat("layout '", layout, "' has no config object"));
}

}  // namespace quantd
