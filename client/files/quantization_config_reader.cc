// The reading half of quantization_config.h.
#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/files/name_pattern.h"
#include "client/files/quantization_config.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

using Json = nlohmann::ordered_json;

absl::Status Bad(absl::string_view where, absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("quantization_config: ", where, where.empty() ? "" : ": ", field, ": ", what));
}

const Json* FindIn(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

absl::StatusOr<int64_t> Integer(const Json& object, absl::string_view where, const char* key,
                                std::optional<int64_t> otherwise = std::nullopt) {
  const Json* const value = FindIn(object, key);
  if (value == nullptr && otherwise.has_value()) return *otherwise;
  if (value == nullptr) return Bad(where, key, "is missing");
  if (!value->is_number_integer() ||
      (value->is_number_unsigned() &&
       value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))) {
    return Bad(where, key, "is not an integer");
  }
  return value->get<int64_t>();
}

absl::StatusOr<std::string> Text(const Json& object, absl::string_view where, const char* key,
                                 std::optional<std::string> otherwise = std::nullopt) {
  const Json* const value = FindIn(object, key);
  if (value == nullptr && otherwise.has_value()) return *otherwise;
  if (value == nullptr) return Bad(where, key, "is missing");
  if (!value->is_string()) return Bad(where, key, "is not a string");
  return value->get<std::string>();
}

absl::StatusOr<bool> Flag(const Json& object, absl::string_view where, const char* key,
                          bool otherwise) {
  const Json* const value = FindIn(object, key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) return Bad(where, key, "is not true or false");
  return value->get<bool>();
}

absl::StatusOr<int> Bits(const Json& object, absl::string_view where, const char* key) {
  QUANTD_ASSIGN_OR_RETURN(const int64_t bits, Integer(object, where, key));
  if (bits < 2 || bits > 8) return Bad(where, key, absl::StrCat(bits, ", expected 2 to 8"));
  return static_cast<int>(bits);
}

// -1 is one group per row.
absl::Status SetGroups(int64_t group_size, int64_t cols, absl::string_view where, Spec* spec) {
  if (group_size == -1) {
    spec->partition.granularity = Granularity::kRow;
    return absl::OkStatus();
  }
  if (group_size < 1) {
    return Bad(where, "group_size", absl::StrCat(group_size, ", expected -1 or at least 1"));
  }
  spec->partition.granularity = Granularity::kGroup;
  spec->partition.group_size = group_size;
  spec->partition.tail = cols % group_size == 0 ? TailPolicy::kReject : TailPolicy::kShortLastGroup;
  return absl::OkStatus();
}

// The spec of a file whose groups are told by a stored index.
void SetGroupIndex(Spec* spec) {
  spec->solve.solver = Solver::kGptq;
  spec->solve.order = Order::kActOrder;
  spec->solve.timing = GroupTiming::kDynamic;
}

absl::StatusOr<bool> MatchesStart(const std::string& pattern, const std::string& module) {
  QUANTD_ASSIGN_OR_RETURN(const NamePattern compiled, NamePattern::Compile(pattern));
  return compiled.MatchesStartOf(module);
}

class Reader {
 public:
  Reader(const Checkpoint& checkpoint, const Json& config)
      : checkpoint_(checkpoint), config_(config) {}

  absl::StatusOr<std::vector<QuantizedModule>> Read() {
    QUANTD_ASSIGN_OR_RETURN(const std::string method, Text(config_, "", "quant_method"));
    if (method == "compressed-tensors") {
      QUANTD_RETURN_IF_ERROR(ReadCompressedTensors());
    } else if (method == "gptq") {
      QUANTD_RETURN_IF_ERROR(ReadGptq());
    } else if (method == "quantd-plain") {
      QUANTD_RETURN_IF_ERROR(ReadPlain());
    } else {
      return Bad("", "quant_method",
                 absl::StrCat("'", method, "', expected compressed-tensors, gptq or quantd-plain"));
    }
    if (modules_.empty()) {
      return Bad("", "quant_method",
                 absl::StrCat("'", method, "', but no tensor of that kind is in the folder"));
    }
    return std::move(modules_);
  }

 private:
  absl::Status ReadCompressedTensors();
  absl::Status ReadCompressedModule(const std::string& module);
  absl::StatusOr<const Json*> GroupOf(const std::string& module, std::string* group) const;
  absl::StatusOr<std::pair<int64_t, int64_t>> StoredShape(const std::string& module) const;
  absl::Status ReadGptq();
  absl::Status ReadGptqModule(const StoredTensor& qweight, const Layout& layout);
  absl::StatusOr<const Json*> DynamicRule(const std::string& module) const;
  absl::Status ReadPlain();
  absl::Status ReadPlainModule(const Json& entry, const Layout& layout);

  // Checks that the module's tensors are the layout's, finds them, and keeps the module.
  absl::Status Keep(QuantizedModule module, const Layout& layout);

  std::optional<int> IndexOf(const std::string& name) const {
    const CheckpointTensor* const found = checkpoint_.Find(name);
    if (found == nullptr) return std::nullopt;
    return static_cast<int>(found - checkpoint_.tensors().data());
  }

  const Checkpoint& checkpoint_;
  const Json& config_;
  std::vector<QuantizedModule> modules_;
};

absl::Status Reader::Keep(QuantizedModule module, const Layout& layout) {
  const auto fail = [&](const absl::Status& status, absl::string_view what) {
    return absl::Status(status.code(), absl::StrCat("module '", module.module, "': ", what));
  };
  const absl::Status accepted = layout.Accepts(module.spec, module.rows, module.cols);
  if (!accepted.ok()) return fail(accepted, accepted.message());
  const absl::Status bad = absl::InvalidArgumentError("");
  for (const PackedDecl& decl : layout.Declare(module.spec, module.rows, module.cols)) {
    const std::string name = absl::StrCat(module.module, decl.suffix);
    const std::optional<int> index = IndexOf(name);
    if (!index.has_value()) return fail(bad, absl::StrCat("tensor '", name, "' is missing"));
    const StoredTensor& stored = *checkpoint_.tensors()[*index].stored;
    if (stored.dtype != decl.dtype || stored.shape != decl.shape) {
      return fail(
          bad, absl::StrCat("tensor '", name, "' is ", stored.dtype_name, ShapeString(stored.shape),
                            ", expected ", DTypeName(decl.dtype), ShapeString(decl.shape)));
    }
    module.tensors.push_back(*index);
  }
  // A tensor that the config does not account for would change how the weight is decoded.
  for (const char* suffix :
       {".weight_zero_point", ".weight_g_idx", ".zeros", ".g_idx", ".weight"}) {
    const std::optional<int> index = IndexOf(absl::StrCat(module.module, suffix));
    if (!index.has_value() || std::count(module.tensors.begin(), module.tensors.end(), *index)) {
      continue;
    }
    return fail(absl::UnimplementedError(""),
                absl::StrCat("tensor '", module.module, suffix,
                             "' is stored, but the config does not ask for it"));
  }
  module.layout = &layout;
  modules_.push_back(std::move(module));
  return absl::OkStatus();
}

absl::Status Reader::ReadCompressedTensors() {
  QUANTD_ASSIGN_OR_RETURN(const std::string format, Text(config_, "", "format"));
  if (format != "pack-quantized") {
    return absl::UnimplementedError(
        absl::StrCat("quantization_config: format: '", format, "', only pack-quantized is read"));
  }
  const Json* const groups = FindIn(config_, "config_groups");
  if (groups == nullptr || !groups->is_object()) {
    return Bad("", "config_groups", "is not an object");
  }
  for (const CheckpointTensor& tensor : checkpoint_.tensors()) {
    absl::string_view module = tensor.name();
    if (absl::ConsumeSuffix(&module, ".weight_packed")) {
      QUANTD_RETURN_IF_ERROR(ReadCompressedModule(std::string(module)));
    }
  }
  return absl::OkStatus();
}

// An exact path wins over a regular expression, that over a class name.
absl::StatusOr<const Json*> Reader::GroupOf(const std::string& module, std::string* group) const {
  const Json* best = nullptr;
  int best_rank = 0;
  for (const auto& [name, scheme] : FindIn(config_, "config_groups")->items()) {
    const Json* const targets = FindIn(scheme, "targets");
    if (targets == nullptr || !targets->is_array()) {
      return Bad(name, "targets", "is not an array");
    }
    for (const Json& target : *targets) {
      if (!target.is_string()) return Bad(name, "targets", "holds a value that is not a string");
      const std::string& text = target.get_ref<const std::string&>();
      int rank = 0;
      if (absl::StartsWith(text, "re:")) {
        const absl::StatusOr<bool> matches = MatchesStart(text.substr(3), module);
        if (!matches.ok()) return Bad(name, "targets", matches.status().message());
        rank = *matches ? 2 : 0;
      } else if (text == module) {
        rank = 3;
      } else if (absl::AsciiStrToLower(text) == "linear") {
        rank = 1;
      }
      if (rank <= best_rank) continue;
      best_rank = rank;
      best = &scheme;
      *group = name;
    }
  }
  if (best == nullptr) {
    return Bad("", "config_groups", absl::StrCat("no target matches module '", module, "'"));
  }
  return best;
}

absl::StatusOr<std::pair<int64_t, int64_t>> Reader::StoredShape(const std::string& module) const {
  const std::string name = absl::StrCat(module, ".weight_shape");
  const CheckpointTensor* const tensor = checkpoint_.Find(name);
  if (tensor == nullptr || tensor->stored->dtype != DType::kI64 ||
      tensor->stored->shape != Shape{2}) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "': is not an I64[2]"));
  }
  int64_t values[2];
  std::memcpy(values, checkpoint_.Bytes(*tensor).data(), sizeof values);
  for (int64_t v : values) {
    if (v < 1 || v > (int64_t{1} << 40)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", name, "': holds ", v, ", expected a positive dimension"));
    }
  }
  return std::make_pair(values[0], values[1]);
}

absl::Status Reader::ReadCompressedModule(const std::string& module) {
  std::string group;
  QUANTD_ASSIGN_OR_RETURN(const Json* const scheme, GroupOf(module, &group));
  const Json* const weights = FindIn(*scheme, "weights");
  if (weights == nullptr) return Bad(group, "weights", "is missing");
  QuantizedModule out;
  out.module = module;
  QUANTD_ASSIGN_OR_RETURN(std::tie(out.rows, out.cols), StoredShape(module));
  QUANTD_ASSIGN_OR_RETURN(out.spec.levels.bits, Bits(*weights, group, "num_bits"));
  QUANTD_ASSIGN_OR_RETURN(const std::string type, Text(*weights, group, "type", "int"));
  if (type != "int") return Bad(group, "type", absl::StrCat("'", type, "', expected int"));
  QUANTD_ASSIGN_OR_RETURN(const bool symmetric, Flag(*weights, group, "symmetric", true));
  out.spec.levels.symmetry = symmetric ? Symmetry::kSymmetricMinMax : Symmetry::kAsymmetric;
  QUANTD_ASSIGN_OR_RETURN(const std::string strategy, Text(*weights, group, "strategy"));
  if (strategy == "group") {
    QUANTD_ASSIGN_OR_RETURN(const int64_t size, Integer(*weights, group, "group_size"));
    QUANTD_RETURN_IF_ERROR(SetGroups(size, out.cols, group, &out.spec));
  } else if (strategy == "channel") {
    out.spec.partition.granularity = Granularity::kRow;
  } else if (strategy == "tensor") {
    out.spec.partition.granularity = Granularity::kTensor;
  } else {
    return Bad(group, "strategy",
               absl::StrCat("'", strategy, "', expected group, channel or tensor"));
  }
  const CheckpointTensor* const scale = checkpoint_.Find(absl::StrCat(module, ".weight_scale"));
  if (scale != nullptr) out.spec.scale_dtype = scale->stored->dtype;
  QUANTD_ASSIGN_OR_RETURN(const Layout* const layout, FindLayout("compressed-tensors"));
  return Keep(std::move(out), *layout);
}

absl::Status Reader::ReadGptq() {
  QUANTD_ASSIGN_OR_RETURN(const std::string older, Text(config_, "", "format", "gptq"));
  QUANTD_ASSIGN_OR_RETURN(const std::string format, Text(config_, "", "checkpoint_format", older));
  if (format != "gptq" && format != "gptq_v2") {
    return absl::UnimplementedError(absl::StrCat("quantization_config: checkpoint_format: '",
                                                 format, "', only gptq and gptq_v2 are read"));
  }
  QUANTD_ASSIGN_OR_RETURN(const Layout* const layout,
                          FindLayout(format == "gptq" ? "gptq" : "gptq-v2"));
  for (const CheckpointTensor& tensor : checkpoint_.tensors()) {
    if (absl::EndsWith(tensor.name(), ".qweight")) {
      QUANTD_RETURN_IF_ERROR(ReadGptqModule(*tensor.stored, *layout));
    }
  }
  return absl::OkStatus();
}

// The override for `module`, or nullptr.
absl::StatusOr<const Json*> Reader::DynamicRule(const std::string& module) const {
  const Json* const dynamic = FindIn(config_, "dynamic");
  if (dynamic == nullptr) return nullptr;
  if (!dynamic->is_object()) return Bad("", "dynamic", "is not an object");
  for (const auto& [key, rule] : dynamic->items()) {
    if (absl::StartsWith(key, "-:")) continue;
    const std::string pattern = absl::StartsWith(key, "+:") ? key.substr(2) : key;
    const absl::StatusOr<bool> matches = MatchesStart(pattern, module);
    if (!matches.ok()) return Bad("dynamic", key, matches.status().message());
    if (*matches) return &rule;
  }
  return nullptr;
}

absl::Status Reader::ReadGptqModule(const StoredTensor& qweight, const Layout& layout) {
  QuantizedModule out;
  out.module = qweight.name.substr(0, qweight.name.size() - std::strlen(".qweight"));
  QUANTD_ASSIGN_OR_RETURN(const Json* const rule, DynamicRule(out.module));
  // A key of the rule, or the model's own.
  const auto source = [&](const char* key) -> const Json& {
    return rule != nullptr && FindIn(*rule, key) != nullptr ? *rule : config_;
  };
  const std::string& where = out.module;
  QUANTD_ASSIGN_OR_RETURN(out.spec.levels.bits, Bits(source("bits"), where, "bits"));
  QUANTD_ASSIGN_OR_RETURN(const bool symmetric, Flag(source("sym"), where, "sym", true));
  QUANTD_ASSIGN_OR_RETURN(const bool desc_act, Flag(source("desc_act"), where, "desc_act", false));
  QUANTD_ASSIGN_OR_RETURN(const int64_t group_size,
                          Integer(source("group_size"), where, "group_size", 128));
  out.spec.levels.symmetry = symmetric ? Symmetry::kSymmetricMinMax : Symmetry::kAsymmetric;
  if (qweight.shape.size() != 2 || qweight.shape[0] < 1 || qweight.shape[1] < 1 ||
      qweight.shape[0] > (int64_t{1} << 40) || qweight.shape[0] * 32 % out.spec.levels.bits != 0) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", qweight.name, "': shape ",
                                                   ShapeString(qweight.shape), " is none of ",
                                                   out.spec.levels.bits, "-bit columns"));
  }
  out.cols = qweight.shape[0] * 32 / out.spec.levels.bits;
  out.rows = qweight.shape[1];
  QUANTD_RETURN_IF_ERROR(SetGroups(group_size, out.cols, where, &out.spec));
  if (desc_act) SetGroupIndex(&out.spec);
  const CheckpointTensor* const scales = checkpoint_.Find(absl::StrCat(out.module, ".scales"));
  if (scales != nullptr) out.spec.scale_dtype = scales->stored->dtype;
  return Keep(std::move(out), layout);
}

absl::Status Reader::ReadPlain() {
  QUANTD_ASSIGN_OR_RETURN(const int64_t version, Integer(config_, "", "version"));
  if (version != 1) return Bad("", "version", absl::StrCat(version, ", expected 1"));
  const Json* const modules = FindIn(config_, "modules");
  if (modules == nullptr || !modules->is_array()) return Bad("", "modules", "is not an array");
  QUANTD_ASSIGN_OR_RETURN(const Layout* const layout, FindLayout("plain"));
  for (const Json& entry : *modules) QUANTD_RETURN_IF_ERROR(ReadPlainModule(entry, *layout));
  std::sort(modules_.begin(), modules_.end(),
            [](const auto& a, const auto& b) { return NaturalLess(a.module, b.module); });
  for (size_t i = 1; i < modules_.size(); ++i) {
    if (modules_[i].module == modules_[i - 1].module) {
      return Bad("modules", modules_[i].module, "appears twice");
    }
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadPlainModule(const Json& entry, const Layout& layout) {
  QuantizedModule out;
  QUANTD_ASSIGN_OR_RETURN(out.module, Text(entry, "modules", "module"));
  const std::string& where = out.module;
  QUANTD_ASSIGN_OR_RETURN(out.rows, Integer(entry, where, "rows"));
  QUANTD_ASSIGN_OR_RETURN(out.cols, Integer(entry, where, "cols"));
  if (out.rows < 1 || out.cols < 1) {
    return Bad(where, "rows, cols", ShapeString({out.rows, out.cols}));
  }
  QUANTD_ASSIGN_OR_RETURN(out.spec.method, Text(entry, where, "method", ""));
  QUANTD_ASSIGN_OR_RETURN(out.spec.levels.bits, Bits(entry, where, "bits"));
  QUANTD_ASSIGN_OR_RETURN(const std::string symmetry, Text(entry, where, "symmetry"));
  out.spec.levels.symmetry = Symmetry::kUnspecified;
  for (Symmetry v : {Symmetry::kAsymmetric, Symmetry::kSymmetricMinMax, Symmetry::kSymmetricAbsMax,
                     Symmetry::kSymmetricFullRange}) {
    if (SymmetryName(v) == symmetry) out.spec.levels.symmetry = v;
  }
  if (out.spec.levels.symmetry == Symmetry::kUnspecified) {
    return Bad(where, "symmetry", absl::StrCat("'", symmetry, "' is no known kind"));
  }
  QUANTD_ASSIGN_OR_RETURN(const std::string granularity, Text(entry, where, "granularity"));
  if (granularity == GranularityName(Granularity::kGroup)) {
    QUANTD_ASSIGN_OR_RETURN(const int64_t size, Integer(entry, where, "group_size"));
    if (size < 1) return Bad(where, "group_size", absl::StrCat(size));
    QUANTD_RETURN_IF_ERROR(SetGroups(size, out.cols, where, &out.spec));
  } else if (granularity == GranularityName(Granularity::kRow)) {
    out.spec.partition.granularity = Granularity::kRow;
  } else if (granularity == GranularityName(Granularity::kTensor)) {
    out.spec.partition.granularity = Granularity::kTensor;
  } else {
    return Bad(where, "granularity", absl::StrCat("'", granularity, "' is no known kind"));
  }
  QUANTD_ASSIGN_OR_RETURN(const std::string scale_dtype, Text(entry, where, "scale_dtype"));
  out.spec.scale_dtype = ParseDType(scale_dtype).value_or(DType::kUnspecified);
  QUANTD_ASSIGN_OR_RETURN(const bool group_index, Flag(entry, where, "group_index", false));
  if (group_index) SetGroupIndex(&out.spec);
  return Keep(std::move(out), layout);
}

}  // namespace

std::vector<PackedView> QuantizedModule::Views(const Checkpoint& checkpoint) const {
  std::vector<PackedView> out;
  for (int i : tensors) {
    const CheckpointTensor& tensor = checkpoint.tensors()[i];
    out.push_back(
        {{tensor.name().substr(module.size()), tensor.stored->dtype, tensor.stored->shape},
         checkpoint.Bytes(tensor)});
  }
  return out;
}

absl::StatusOr<std::vector<QuantizedModule>> ReadQuantizedModules(const Checkpoint& checkpoint) {
  const Json* config = FindIn(checkpoint.config(), "quantization_config");
  if (config == nullptr) config = FindIn(checkpoint.config(), "compression_config");
  if (config == nullptr || !config->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint.dir(), "/config.json: has no quantization_config: the model is not quantized"));
  }
  return Reader(checkpoint, *config).Read();
}

}  // namespace quantd
