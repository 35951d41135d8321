// The reading half of quantization_config.h.
#include "client/files/quantization_config_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/files/late_sizes.h"
#include "client/files/name_pattern.h"
#include "client/files/spec_json.h"
#include "workers/core/status_macros.h"
#include "workers/methods/check.h"

namespace quantd {

using Json = nlohmann::ordered_json;

namespace config_value {

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
                                std::optional<int64_t> otherwise) {
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
                                 std::optional<std::string> otherwise) {
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

absl::StatusOr<bool> MatchesStart(const std::string& pattern, const std::string& module) {
  QUANTD_ASSIGN_OR_RETURN(const NamePattern compiled, NamePattern::Compile(pattern));
  return compiled.MatchesStartOf(module);
}

}  // namespace config_value

using config_value::Bad;
using config_value::Bits;
using config_value::FindIn;
using config_value::Flag;
using config_value::Integer;
using config_value::MatchesStart;
using config_value::Text;

namespace {

constexpr int64_t kMaxDimension = int64_t{1} << 40;

// The spec of a file whose groups are told by a stored index.
void SetGroupIndex(Spec* spec) {
  spec->solve.solver = Solver::kGptq;
  spec->solve.order = Order::kActOrder;
  spec->solve.timing = GroupTiming::kDynamic;
  spec->solve.factorization = Factorization::kCholesky;
}

}  // namespace

absl::Status SetConfigGroups(int64_t group_size, int64_t cols, absl::string_view where,
                             Spec* spec) {
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

std::optional<StorageKind> StorageOf(DType dtype) {
  if (dtype == DType::kF16) return StorageKind::kF16;
  if (dtype == DType::kBF16) return StorageKind::kBF16;
  if (dtype == DType::kF32) return StorageKind::kF32;
  return std::nullopt;
}

const StoredTensor* ConfigReader::Stored(const std::string& module,
                                         absl::string_view suffix) const {
  const CheckpointTensor* const found = checkpoint_.Find(absl::StrCat(module, suffix));
  return found == nullptr ? nullptr : found->stored;
}

std::optional<int> ConfigReader::IndexOf(const std::string& name) const {
  const CheckpointTensor* const found = checkpoint_.Find(name);
  if (found == nullptr) return std::nullopt;
  return static_cast<int>(found - checkpoint_.tensors().data());
}

absl::StatusOr<std::vector<QuantizedModule>> ConfigReader::Read() {
  QUANTD_ASSIGN_OR_RETURN(const std::string method, Text(config_, "", "quant_method"));
  if (method == "compressed-tensors") {
    QUANTD_RETURN_IF_ERROR(ReadCompressedTensors());
  } else if (method == "gptq") {
    QUANTD_RETURN_IF_ERROR(ReadGptq());
  } else if (method == "bitsandbytes") {
    QUANTD_RETURN_IF_ERROR(ReadBitsAndBytes());
  } else if (method == "spqr") {
    QUANTD_RETURN_IF_ERROR(ReadSpqr());
  } else if (method == "aqlm") {
    QUANTD_RETURN_IF_ERROR(ReadAqlm());
  } else if (method == "quantd-plain") {
    QUANTD_RETURN_IF_ERROR(ReadPlain());
  } else {
    return Bad("", "quant_method",
               absl::StrCat("'", method,
                            "', expected compressed-tensors, gptq, bitsandbytes, spqr, aqlm or "
                            "quantd-plain"));
  }
  if (modules_.empty()) {
    return Bad("", "quant_method",
               absl::StrCat("'", method, "', but no tensor of that kind is in the folder"));
  }
  return std::move(modules_);
}

absl::Status ConfigReader::Keep(QuantizedModule module, const Layout& layout) {
  const auto fail = [&](const absl::Status& status, absl::string_view what) {
    return absl::Status(status.code(), absl::StrCat("module '", module.module, "': ", what));
  };
  const absl::Status accepted = layout.Accepts(module.spec, module.rows, module.cols);
  if (!accepted.ok()) return fail(accepted, accepted.message());
  const absl::Status bad = absl::InvalidArgumentError("");
  const std::vector<PackedDecl> decls = layout.Declare(module.spec, module.rows, module.cols);
  for (const PackedDecl& decl : decls) {
    const std::string name = absl::StrCat(module.module, decl.suffix);
    const std::optional<int> index = IndexOf(name);
    if (!index.has_value()) return fail(bad, absl::StrCat("tensor '", name, "' is missing"));
    module.tensors.push_back(*index);
  }
  const absl::Status fits = CheckDelivered(module.module, decls, module.Views(checkpoint_));
  if (!fits.ok()) return fail(bad, fits.message());
  // A tensor that the config does not account for would change how the weight is decoded.
  for (const char* suffix :
       {".weight_zero_point", ".weight_g_idx", ".zeros", ".g_idx", ".weight", ".column_scale"}) {
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

absl::Status ConfigReader::ReadGptq() {
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
absl::StatusOr<const Json*> ConfigReader::DynamicRule(const std::string& module) const {
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

absl::Status ConfigReader::ReadGptqModule(const StoredTensor& qweight, const Layout& layout) {
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
      qweight.shape[0] > kMaxDimension || qweight.shape[0] * 32 % out.spec.levels.bits != 0) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", qweight.name, "': shape ",
                                                   ShapeString(qweight.shape), " is none of ",
                                                   out.spec.levels.bits, "-bit columns"));
  }
  out.cols = qweight.shape[0] * 32 / out.spec.levels.bits;
  out.rows = qweight.shape[1];
  QUANTD_RETURN_IF_ERROR(SetConfigGroups(group_size, out.cols, where, &out.spec));
  if (desc_act) SetGroupIndex(&out.spec);
  if (const StoredTensor* const scales = Stored(out.module, ".scales")) {
    out.spec.storage.kind = StorageOf(scales->dtype).value_or(out.spec.storage.kind);
  }
  return Keep(std::move(out), layout);
}

absl::Status ConfigReader::ReadBitsAndBytes() {
  QUANTD_ASSIGN_OR_RETURN(const bool four, Flag(config_, "", "load_in_4bit", false));
  if (!four) {
    return absl::UnimplementedError(
        "quantization_config: load_in_4bit: false, only 4-bit bitsandbytes files are read");
  }
  QUANTD_ASSIGN_OR_RETURN(const Layout* const layout, FindLayout("bitsandbytes"));
  for (const CheckpointTensor& tensor : checkpoint_.tensors()) {
    absl::string_view module = tensor.name();
    if (absl::ConsumeSuffix(&module, ".weight.absmax")) {
      QUANTD_RETURN_IF_ERROR(ReadBitsAndBytesModule(std::string(module), *layout));
    }
  }
  return absl::OkStatus();
}

// Everything but the codes' bytes is told by a JSON text in a tensor of the module.
absl::Status ConfigReader::ReadBitsAndBytesModule(const std::string& module, const Layout& layout) {
  QuantizedModule out;
  out.module = module;
  out.spec.levels.kind = LevelKind::kFixedTable;
  constexpr char kState[] = ".weight.quant_state.bitsandbytes__";
  const CheckpointTensor* state = checkpoint_.Find(absl::StrCat(module, kState, "nf4"));
  if (state == nullptr) {
    state = checkpoint_.Find(absl::StrCat(module, kState, "fp4"));
    out.spec.levels.table = FixedTable::kFp4;
  }
  if (state == nullptr) return Bad(module, "quant_state", "is missing");
  const absl::Span<const std::byte> bytes = checkpoint_.Bytes(*state);
  const char* const text = reinterpret_cast<const char*>(bytes.data());
  const Json json = Json::parse(text, text + bytes.size(), nullptr, /*allow_exceptions=*/false);
  const Json* const shape = FindIn(json, "shape");
  if (shape == nullptr || !shape->is_array() || shape->size() != 2 ||
      !(*shape)[0].is_number_integer() || !(*shape)[1].is_number_integer()) {
    return Bad(module, "quant_state", "has no shape of two numbers");
  }
  out.rows = (*shape)[0].get<int64_t>();
  out.cols = (*shape)[1].get<int64_t>();
  if (out.rows < 1 || out.cols < 1 || out.rows > kMaxDimension || out.cols > kMaxDimension) {
    return Bad(module, "shape", ShapeString({out.rows, out.cols}));
  }
  QUANTD_ASSIGN_OR_RETURN(const int64_t block, Integer(json, module, "blocksize"));
  QUANTD_RETURN_IF_ERROR(SetConfigGroups(block, out.cols, module, &out.spec));
  const bool nested = FindIn(json, "nested_blocksize") != nullptr;
  out.spec.storage.kind = nested ? StorageKind::kNested : StorageKind::kF32;
  return Keep(std::move(out), layout);
}

absl::Status ConfigReader::ReadSpqr() {
  QUANTD_ASSIGN_OR_RETURN(const int bits, Bits(config_, "", "bits"));
  QUANTD_ASSIGN_OR_RETURN(const int64_t group_size, Integer(config_, "", "beta1"));
  QUANTD_ASSIGN_OR_RETURN(const int64_t super_group, Integer(config_, "", "beta2"));
  if (super_group < 1 || super_group > 4096) {
    return Bad("", "beta2", absl::StrCat(super_group, ", expected 1 to 4096"));
  }
  QUANTD_ASSIGN_OR_RETURN(const Layout* const layout, FindLayout("spqr"));
  for (const CheckpointTensor& tensor : checkpoint_.tensors()) {
    absl::string_view name = tensor.name();
    if (!absl::ConsumeSuffix(&name, ".dense_weights")) continue;
    QuantizedModule out;
    out.module = std::string(name);
    const StoredTensor* const rows = Stored(out.module, ".row_offsets");
    const StoredTensor* const columns = Stored(out.module, ".in_perm");
    if (rows == nullptr || columns == nullptr || rows->shape.size() != 1 ||
        columns->shape.size() != 1 || rows->shape[0] < 2 || columns->shape[0] < 1) {
      return Bad(out.module, "row_offsets, in_perm", "do not tell the weight's shape");
    }
    out.rows = rows->shape[0] - 1;
    out.cols = 2 * columns->shape[0];
    Spec& spec = out.spec;
    spec.levels.bits = bits;
    spec.levels.symmetry = Symmetry::kAsymmetric;
    spec.levels.zero = ZeroPoint::kReal;
    QUANTD_RETURN_IF_ERROR(SetConfigGroups(group_size, out.cols, out.module, &spec));
    spec.storage = {StorageKind::kInt, ScaleRounding::kFloor, bits, static_cast<int>(super_group)};
    spec.exceptions.outliers = OutlierKind::kThreshold;
    // The file always says which column is stored where, and may hold any number of outliers.
    SetGroupIndex(&spec);
    QUANTD_RETURN_IF_ERROR(Keep(std::move(out), *layout));
  }
  return absl::OkStatus();
}

// The object gives the geometry of all modules, `.codes` the shape of each.
absl::Status ConfigReader::ReadAqlm() {
  const auto count = [this](const char* key, int64_t most) -> absl::StatusOr<int> {
    QUANTD_ASSIGN_OR_RETURN(const int64_t value, Integer(config_, "", key));
    if (value >= 1 && value <= most) return static_cast<int>(value);
    return Bad("", key, absl::StrCat(value, ", expected 1 to ", most));
  };
  Spec spec;
  spec.levels.kind = LevelKind::kAdditive;
  spec.partition.granularity = Granularity::kRow;
  // No decoder asks how the codes came about, but a spec must go together.
  spec.fit.kind = FitKind::kResidualKMeans;
  spec.solve.solver = Solver::kBeam;
  QUANTD_ASSIGN_OR_RETURN(spec.levels.codebook_bits, count("nbits_per_codebook", 16));
  QUANTD_ASSIGN_OR_RETURN(spec.levels.codebooks, count("num_codebooks", 16));
  QUANTD_ASSIGN_OR_RETURN(spec.levels.in_group, count("in_group_size", 64));
  QUANTD_ASSIGN_OR_RETURN(spec.levels.out_group, count("out_group_size", 64));
  QUANTD_ASSIGN_OR_RETURN(const Layout* const layout, FindLayout("aqlm"));
  for (const CheckpointTensor& tensor : checkpoint_.tensors()) {
    absl::string_view name = tensor.name();
    if (!absl::ConsumeSuffix(&name, ".codes")) continue;
    const Shape& shape = tensor.stored->shape;
    if (shape.size() != 3 || shape[0] < 1 || shape[1] < 1 || shape[0] > kMaxDimension ||
        shape[1] > kMaxDimension) {
      return Bad(name, "codes",
                 absl::StrCat("shape ", ShapeString(shape),
                              ", expected [out groups, in groups, codebooks]"));
    }
    QUANTD_RETURN_IF_ERROR(Keep({std::string(name), shape[0] * spec.levels.out_group,
                                 shape[1] * spec.levels.in_group, spec},
                                *layout));
  }
  return absl::OkStatus();
}

absl::Status ConfigReader::ReadPlain() {
  QUANTD_ASSIGN_OR_RETURN(const int64_t version, Integer(config_, "", "version"));
  if (version != 2) return Bad("", "version", absl::StrCat(version, ", expected 2"));
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

absl::Status ConfigReader::ReadPlainModule(const Json& entry, const Layout& layout) {
  QuantizedModule out;
  QUANTD_ASSIGN_OR_RETURN(out.module, Text(entry, "modules", "module"));
  const std::string& where = out.module;
  QUANTD_ASSIGN_OR_RETURN(out.rows, Integer(entry, where, "rows"));
  QUANTD_ASSIGN_OR_RETURN(out.cols, Integer(entry, where, "cols"));
  if (out.rows < 1 || out.cols < 1 || out.rows > kMaxDimension || out.cols > kMaxDimension) {
    return Bad(where, "rows, cols", ShapeString({out.rows, out.cols}));
  }
  const Json* const spec = FindIn(entry, "spec");
  if (spec == nullptr) return Bad(where, "spec", "is missing");
  QUANTD_ASSIGN_OR_RETURN(out.spec,
                          SpecFromJson(*spec, absl::StrCat("quantization_config: ", where)));
  // Never written: the axis was decided for each module.
  if (IsAdaptive(out.spec)) return Bad(where, "spec", "leaves an adaptive axis open");
  return Keep(std::move(out), layout);
}

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
  return ConfigReader(checkpoint, *config).Read();
}

}  // namespace quantd
