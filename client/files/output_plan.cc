#include "client/files/output_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/files/late_sizes.h"
#include "client/files/spec_json.h"
#include "workers/core/status_macros.h"
#include "workers/methods/check.h"

namespace quantd {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kConfigKey[] = "quantization_config";
constexpr char kOldConfigKey[] = "compression_config";

std::string Quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string PrettyFile(const Json& json) {
  return absl::StrCat(json.dump(2, ' ', false, Json::error_handler_t::replace), "\n");
}

// Everything before the last dot: the module a tensor belongs to.
std::string OwnerOf(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? name : name.substr(0, dot);
}

// Every field of a spec; two specs that give different bytes give different texts.
std::string SpecText(const Spec& spec) {
  return Json(WholeSpecToJson(spec)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// What a loader must know: a folded scale is no longer part of the layer.
Spec StoredSpec(const PlannedModule& module) {
  Spec spec = module.spec;
  if (module.fold >= 0) spec.transform.scaling = ScalingKind::kNone;
  return spec;
}

// The dense weight's modules that a loader must leave alone.
std::vector<std::string> DenseLinears(const Checkpoint& checkpoint, const Selection& selection) {
  std::vector<std::string> out;
  bool has_head = false;
  for (const TensorChoice& choice : selection.choices) {
    if (choice.dense_linear) out.push_back(choice.module);
    has_head |= absl::EndsWith(choice.module, "lm_head");
  }
  if (has_head) return out;
  // A tied head stores no tensor, yet loaders build a linear module for it.
  const auto it = checkpoint.config().find("architectures");
  if (it == checkpoint.config().end() || !it->is_array()) return out;
  for (const Json& name : *it) {
    if (!name.is_string()) continue;
    const std::string& text = name.get_ref<const std::string&>();
    for (absl::string_view kind : {"ForCausalLM", "LMHeadModel", "ForConditionalGeneration"}) {
      if (absl::StrContains(text, kind)) {
        out.push_back("lm_head");
        return out;
      }
    }
  }
  return out;
}

}  // namespace

absl::Status CheckUnquantized(const Checkpoint& checkpoint) {
  for (const char* key : {kConfigKey, kOldConfigKey}) {
    const auto it = checkpoint.config().find(key);
    if (it != checkpoint.config().end() && !it->is_null()) {
      return absl::InvalidArgumentError(absl::StrCat(checkpoint.dir(), "/config.json: has '", key,
                                                     "': the model is quantized already"));
    }
  }
  return absl::OkStatus();
}

std::string LayOutSafetensors(std::vector<PlannedTensor*>& members) {
  std::sort(members.begin(), members.end(), [](const PlannedTensor* a, const PlannedTensor* b) {
    const int x = SafetensorsRank(a->dtype_name), y = SafetensorsRank(b->dtype_name);
    return x != y ? x > y : a->name < b->name;
  });
  std::string json = R"({"__metadata__":{"format":"pt"})";
  uint64_t at = 0;
  for (PlannedTensor* t : members) {
    absl::StrAppend(&json, ",", Quoted(t->name), R"(:{"dtype":")", t->dtype_name, R"(","shape":[)",
                    absl::StrJoin(t->shape, ","), R"(],"data_offsets":[)", at, ",", at + t->bytes,
                    "]}");
    t->offset = at;
    at += t->bytes;
  }
  json.push_back('}');
  json.resize((json.size() + 7) / 8 * 8, ' ');
  std::string header(8, '\0');
  for (int i = 0; i < 8; ++i) header[i] = static_cast<char>(json.size() >> (8 * i) & 0xFF);
  header += json;
  for (PlannedTensor* t : members) t->offset += header.size();
  return header;
}

absl::StatusOr<OutputPlan> OutputPlan::ForQuantize(const Checkpoint& checkpoint,
                                                   const Selection& selection, const Layout& layout,
                                                   const OutputOptions& options) {
  QUANTD_RETURN_IF_ERROR(CheckUnquantized(checkpoint));
  OutputPlan plan;
  plan.layout_ = &layout;
  plan.source_config_ = checkpoint.config();
  plan.dense_linears_ = DenseLinears(checkpoint, selection);
  plan.folds_ = options.folds.folds;
  std::vector<bool> replaced(checkpoint.tensors().size(), false);
  for (const TensorChoice& choice : selection.choices) {
    if (!choice.quantize) continue;
    replaced[choice.tensor] = true;
    PlannedModule module;
    module.module = choice.module;
    module.weight = choice.name;
    module.source = {choice.tensor};
    module.rows = choice.rows;
    module.cols = choice.cols;
    module.spec = choice.spec;
    module.late = SizesComeLate(layout, choice.spec, choice.rows, choice.cols);
    if (const Fold* fold = options.folds.FindModule(choice.module)) {
      module.fold = static_cast<int>(fold - options.folds.folds.data());
    }
    module.decls = LargestDecls(layout, choice.spec, choice.rows, choice.cols);
    plan.modules_.push_back(std::move(module));
  }
  if (plan.modules_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint.dir(), ": no tensor is selected for quantization"));
  }
  QUANTD_RETURN_IF_ERROR(plan.LayOut(checkpoint, replaced, options));
  QUANTD_RETURN_IF_ERROR(plan.FillConfigs());
  plan.ComputeDigest(checkpoint, layout.name(), options);
  return plan;
}

absl::Status OutputPlan::FillConfigs() {
  std::vector<ConfigModule> in_config;
  for (const PlannedModule& module : modules_) {
    Spec spec = StoredSpec(module);
    // Before the work an adaptive axis is still open; any way it may end will do.
    if (module.late) spec = CandidatesOf(spec, module.rows, module.cols).front();
    in_config.push_back({module.module, module.rows, module.cols, std::move(spec)});
    for (size_t i = 0; i < module.tensors.size(); ++i) {
      if (module.tensors[i] < 0) continue;
      in_config.back().stored.emplace_back(module.decls[i].suffix, module.decls[i].shape);
    }
  }
  QUANTD_ASSIGN_OR_RETURN(
      const Json object,
      MakeQuantizationConfig(layout_->name(), in_config, dense_linears_, source_config_));
  Json config = source_config_;
  AdaptModelConfig(layout_->name(), &config);
  config[kConfigKey] = object;
  config_json_ = PrettyFile(config);
  if (absl::StartsWith(layout_->name(), "gptq")) quantize_config_json_ = PrettyFile(object);
  return absl::OkStatus();
}

absl::StatusOr<OutputPlan> OutputPlan::ForDequantize(const Checkpoint& checkpoint,
                                                     absl::Span<const QuantizedModule> modules,
                                                     DType dtype, const OutputOptions& options) {
  if (!IsRealDType(dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("dense dtype ", DTypeName(dtype), ", expected F32, F16 or BF16"));
  }
  if (modules.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint.dir(), ": has no quantized module"));
  }
  OutputPlan plan;
  std::vector<bool> replaced(checkpoint.tensors().size(), false);
  for (const QuantizedModule& quantized : modules) {
    PlannedModule module;
    module.module = quantized.module;
    module.weight = absl::StrCat(quantized.module, ".weight");
    module.source = quantized.tensors;
    module.rows = quantized.rows;
    module.cols = quantized.cols;
    module.spec = quantized.spec;
    module.decls = {{".weight", dtype, {quantized.rows, quantized.cols}}};
    for (int i : quantized.tensors) replaced[i] = true;
    plan.modules_.push_back(std::move(module));
  }
  QUANTD_RETURN_IF_ERROR(plan.LayOut(checkpoint, replaced, options));
  Json config = checkpoint.config();
  config.erase(kConfigKey);
  config.erase(kOldConfigKey);
  plan.config_json_ = PrettyFile(config);
  plan.ComputeDigest(checkpoint, "dense", options);
  return plan;
}

// Appends every tensor of the output; `units` get their indices, a unit being what must lie in one
// file: all tensors of a module. Modules keep the order in which they first appear.
absl::Status OutputPlan::AddTensors(const Checkpoint& checkpoint, const std::vector<bool>& replaced,
                                    std::vector<std::vector<int>>* units) {
  absl::flat_hash_map<int, int> module_at;  // first source tensor -> module
  for (size_t i = 0; i < modules_.size(); ++i) {
    module_at[modules_[i].source.front()] = static_cast<int>(i);
  }
  absl::flat_hash_map<int, int> fold_at;  // source tensor -> fold
  for (size_t i = 0; i < folds_.size(); ++i) {
    for (int t : folds_[i].tensors) fold_at[t] = static_cast<int>(i);
  }
  absl::flat_hash_map<std::string, size_t> unit_of;
  const auto add = [&](PlannedTensor tensor, const std::string& owner) {
    const auto [it, fresh] = unit_of.try_emplace(owner, units->size());
    if (fresh) units->emplace_back();
    (*units)[it->second].push_back(static_cast<int>(tensors_.size()));
    tensors_.push_back(std::move(tensor));
  };
  for (size_t i = 0; i < checkpoint.tensors().size(); ++i) {
    const StoredTensor& stored = *checkpoint.tensors()[i].stored;
    const int index = static_cast<int>(i);
    if (!replaced[i]) {
      const auto fold = fold_at.find(index);
      add({stored.name, stored.dtype_name, stored.shape, stored.size(), 0, 0, index, -1,
           fold == fold_at.end() ? -1 : fold->second},
          OwnerOf(stored.name));
    }
    const auto it = module_at.find(index);
    if (it == module_at.end()) continue;
    PlannedModule& module = modules_[it->second];
    for (const PackedDecl& decl : module.decls) {
      if (module.fold >= 0 && decl.suffix == kColumnScaleSuffix) {
        module.tensors.push_back(-1);
        continue;
      }
      const std::string name = absl::StrCat(module.module, decl.suffix);
      QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes, CheckedBytes(decl.shape, decl.dtype, name));
      module.tensors.push_back(static_cast<int>(tensors_.size()));
      add({name, std::string(DTypeName(decl.dtype)), decl.shape, bytes, 0, 0, -1, it->second},
          module.module);
    }
  }
  absl::flat_hash_set<absl::string_view> names;
  for (const PlannedTensor& t : tensors_) {
    if (!names.insert(t.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", t.name,
                       "': the source has it already, so no packed tensor can take the name"));
    }
  }
  return absl::OkStatus();
}

absl::Status OutputPlan::LayOut(const Checkpoint& checkpoint, const std::vector<bool>& replaced,
                                const OutputOptions& options) {
  std::vector<std::vector<int>> units;
  QUANTD_RETURN_IF_ERROR(AddTensors(checkpoint, replaced, &units));
  std::vector<std::vector<int>> shards;
  uint64_t filled = 0;
  for (const std::vector<int>& unit : units) {
    uint64_t bytes = 0;
    for (int i : unit) bytes += tensors_[i].bytes;
    if (shards.empty() || (filled > 0 && filled + bytes > options.max_shard_bytes)) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().insert(shards.back().end(), unit.begin(), unit.end());
    filled += bytes;
  }
  files_.resize(shards.size());
  for (size_t i = 0; i < shards.size(); ++i) {
    QUANTD_RETURN_IF_ERROR(FillFile(shards[i], static_cast<int>(i)));
    for (int t : shards[i]) {
      files_[i].late |= tensors_[t].module >= 0 && modules_[tensors_[t].module].late;
    }
  }
  // A file can be written only when every size in it is known.
  for (const PlannedTensor& t : tensors_) {
    if (t.module >= 0 && files_[t.file].late) modules_[t.module].late = true;
  }
  return absl::OkStatus();
}

absl::StatusOr<OutputPlan> OutputPlan::Resolve(const Checkpoint& checkpoint,
                                               const std::map<int, ModuleOutcome>& outcomes) const {
  OutputPlan plan = *this;
  std::vector<int> file_of_source(checkpoint.tensors().size(), -1);
  std::vector<int> file_of_module(modules_.size(), -1);
  std::vector<bool> replaced(checkpoint.tensors().size(), true);
  for (const PlannedTensor& t : tensors_) {
    if (t.module >= 0) {
      file_of_module[t.module] = t.file;
    } else {
      file_of_source[t.source] = t.file;
      replaced[t.source] = false;
    }
  }
  for (size_t m = 0; m < modules_.size(); ++m) {
    PlannedModule& module = plan.modules_[m];
    module.tensors.clear();
    if (!module.late) continue;
    const auto it = outcomes.find(static_cast<int>(m));
    if (it == outcomes.end()) {
      return absl::InternalError(absl::StrCat("module '", module.module, "': has no outcome"));
    }
    module.spec = it->second.spec;
    module.decls = it->second.decls;
    module.late = false;
  }
  plan.tensors_.clear();
  std::vector<std::vector<int>> units;
  QUANTD_RETURN_IF_ERROR(plan.AddTensors(checkpoint, replaced, &units));
  // In the order of units, as LayOut() fills them, so that files without late modules come out the
  // same.
  std::vector<std::vector<int>> members(files_.size());
  for (const std::vector<int>& unit : units) {
    for (int i : unit) {
      const PlannedTensor& t = plan.tensors_[i];
      members[t.module >= 0 ? file_of_module[t.module] : file_of_source[t.source]].push_back(i);
    }
  }
  for (size_t f = 0; f < files_.size(); ++f) {
    plan.files_[f].late = false;
    QUANTD_RETURN_IF_ERROR(plan.FillFile(members[f], static_cast<int>(f)));
  }
  QUANTD_RETURN_IF_ERROR(plan.FillConfigs());
  return plan;
}

absl::Status OutputPlan::CheckOutcome(int module, const Spec* spec,
                                      absl::Span<const PackedView> tensors) const {
  const PlannedModule& planned = modules_[module];
  const auto fail = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("module '", planned.module, "': ", what));
  };
  absl::Status status;
  if (!planned.late) {
    status = CheckDelivered(planned.module, planned.decls, tensors);
  } else if (spec == nullptr) {
    return fail("came without the spec that it was done under");
  } else {
    status = spec->method == planned.spec.method
                 ? layout_->Accepts(*spec, planned.rows, planned.cols)
                 : absl::InvalidArgumentError(absl::StrCat("was done by method '", spec->method,
                                                           "', not ", planned.spec.method));
    if (!status.ok()) return fail(status.message());
    status = CheckDelivered(planned.module, layout_->Declare(*spec, planned.rows, planned.cols),
                            tensors);
  }
  return status.ok() ? status : fail(status.message());
}

bool OutputPlan::HasLateFiles() const {
  return std::any_of(files_.begin(), files_.end(), [](const PlannedFile& f) { return f.late; });
}

absl::Status OutputPlan::FillFile(const std::vector<int>& members, int file) {
  PlannedFile& out = files_[file];
  out.name = files_.size() == 1
                 ? "model.safetensors"
                 : absl::StrFormat("model-%05d-of-%05d.safetensors", file + 1, files_.size());
  std::vector<PlannedTensor*> tensors;
  for (int i : members) {
    tensors_[i].file = file;
    tensors.push_back(&tensors_[i]);
  }
  out.header = LayOutSafetensors(tensors);
  if (out.header.size() - 8 > kMaxSafetensorsHeader) {
    return absl::OutOfRangeError(absl::StrCat(out.name, ": header of ", out.header.size(),
                                              " bytes is above the format's limit"));
  }
  out.size = out.header.size();
  for (const PlannedTensor* t : tensors) out.size += t->bytes;
  return absl::OkStatus();
}

uint64_t OutputPlan::TotalBytes() const {
  uint64_t sum = 0;
  for (const PlannedFile& f : files_) sum += f.size;
  return sum;
}

uint64_t OutputPlan::TensorBytes() const {
  uint64_t sum = 0;
  for (const PlannedTensor& t : tensors_) sum += t.bytes;
  return sum;
}

std::string OutputPlan::IndexJson() const {
  if (files_.size() == 1) return "";
  // The sorted kind of object: insertion into an ordered one takes linear time.
  nlohmann::json json;
  json["metadata"]["total_size"] = TensorBytes();
  nlohmann::json& map = json["weight_map"] = nlohmann::json::object();
  for (const PlannedTensor& t : tensors_) map[t.name] = files_[t.file].name;
  return absl::StrCat(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace), "\n");
}

void OutputPlan::ComputeDigest(const Checkpoint& checkpoint, absl::string_view kind,
                               const OutputOptions& options) {
  DigestStream stream;
  const auto add = [&](absl::string_view text) {
    // The length in front keeps neighbouring fields from running into each other.
    const std::string field = absl::StrCat(text.size(), ":", text, "\n");
    stream.Add({reinterpret_cast<const std::byte*>(field.data()), field.size()});
  };
  add(QUANTD_VERSION);
  add(kind);
  add(options.inputs);
  for (const CheckpointTensor& t : checkpoint.tensors()) {
    add(t.name());
    add(absl::StrCat(t.stored->dtype_name, ShapeString(t.stored->shape)));
  }
  for (const PlannedModule& m : modules_) {
    add(m.module);
    add(SpecText(m.spec));
    add(m.fold < 0 ? "" : folds_[m.fold].norm);
  }
  for (const PlannedFile& f : files_) {
    add(f.name);
    add(f.header);
  }
  add(config_json_);
  digest_ = stream.Finish();
}

}  // namespace quantd
