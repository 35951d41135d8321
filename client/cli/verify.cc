#include "client/cli/verify.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "client/cli/decoded_error.h"
#include "client/cli/exit_codes.h"
#include "client/cli/job_runs.h"
#include "client/cli/report_json.h"
#include "client/cli/spec_text.h"
#include "client/cli/text_table.h"
#include "client/files/checkpoint.h"
#include "client/files/durable_file.h"
#include "client/files/fold.h"
#include "client/files/independent_decoder.h"
#include "client/files/quantization_config.h"
#include "client/files/safetensors_reader.h"
#include "workers/core/float16.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

// Rows decoded at a time: a multiple of every layout's row packing, small enough to stay in memory.
constexpr int64_t kRowsAtOnce = 256;
// Both sides sum the same numbers in double, in different orders.
constexpr double kRelativeTolerance = 1e-6;

// A rotation or a column scale is undone in another order of operations than the server's.
constexpr double kTransformedTolerance = 1e-3;

// The verdict on one module.
struct ModuleCheck {
  std::vector<std::string> problems;
  std::optional<ErrorMeasures> error;  // with a source
  bool digests = false;                // compared and equal
};

bool Agree(double a, double b, double tolerance) {
  return a == b || std::abs(a - b) <= tolerance * std::max(std::abs(a), std::abs(b)) + 1e-15;
}

class Verifier {
 public:
  explicit Verifier(const VerifyFlags& flags) : flags_(flags) {}

  absl::Status Open() {
    QUANTD_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(flags_.dir));
    checkpoint_ = std::make_unique<Checkpoint>(std::move(checkpoint));
    QUANTD_ASSIGN_OR_RETURN(modules_, ReadQuantizedModules(*checkpoint_));
    if (!flags_.source.empty()) {
      QUANTD_ASSIGN_OR_RETURN(Checkpoint source, Checkpoint::Open(flags_.source));
      source_ = std::make_unique<Checkpoint>(std::move(source));
    }
    const std::string path =
        flags_.report.empty() ? absl::StrCat(flags_.dir, "/", kReportName) : flags_.report;
    absl::StatusOr<std::string> text = ReadSmallFile(path, 1 << 30);
    // A folder of another tool has none.
    if (absl::IsNotFound(text.status()) && flags_.report.empty()) return absl::OkStatus();
    QUANTD_RETURN_IF_ERROR(text.status());
    QUANTD_ASSIGN_OR_RETURN(std::vector<LayerRecord> records, ReportFromJson(*text, path));
    has_report_ = true;
    for (LayerRecord& record : records) {
      std::string module = ModuleName(record.report.name);
      if (!record.folded_into.empty()) folded_into_[module] = record.folded_into;
      report_[std::move(module)] = std::move(record.report);
    }
    return folded_into_.empty() ? absl::OkStatus() : ReadColumnScales();
  }

  void Check() {
    checks_.resize(modules_.size());
    std::atomic<size_t> next{0};
    const auto work = [&] {
      for (size_t i = next++; i < modules_.size(); i = next++)
        CheckModule(modules_[i], &checks_[i]);
    };
    std::vector<std::thread> threads;
    const size_t width = std::min<size_t>(modules_.size(), std::thread::hardware_concurrency());
    for (size_t t = 1; t < width; ++t) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    CheckNames();
    if (source_ == nullptr) return;
    CheckConfig();
    CheckIndex();
  }

  // Prints the table and every problem; true when there is none.
  bool Print(std::ostream* out) const;

 private:
  void CheckModule(const QuantizedModule& module, ModuleCheck* check) const;
  void CheckDigests(const QuantizedModule& module, const TensorReport& report,
                    ModuleCheck* check) const;
  void CheckScales(const QuantizedModule& module, const PackedView& view, ModuleCheck* check) const;
  absl::Status ReadColumnScales();
  // Null where no norm took the module's scale.
  const std::vector<float>* FoldedScale(const std::string& module) const;
  absl::Status Decode(const QuantizedModule& module, const CheckpointTensor* source,
                      DecodedError* error) const;
  bool IsSourceTensor(const CheckpointTensor& copy, const CheckpointTensor& source) const;
  void CompareErrors(const TensorReport& report, const ErrorMeasures& decoded,
                     ModuleCheck* check) const;
  void CheckNames();
  void CheckConfig();
  void CheckIndex();

  const VerifyFlags& flags_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Checkpoint> source_;
  std::vector<QuantizedModule> modules_;
  std::map<std::string, TensorReport> report_;             // by module
  std::map<std::string, std::string> folded_into_;         // module -> norm
  std::map<std::string, std::vector<float>> norm_scales_;  // by norm
  bool has_report_ = false;
  std::vector<ModuleCheck> checks_;
  std::vector<std::string> problems_;  // of the folder as a whole
};

void Verifier::CheckModule(const QuantizedModule& module, ModuleCheck* check) const {
  const CheckpointTensor* source = nullptr;
  if (source_ != nullptr) {
    source = source_->Find(module.module + ".weight");
    if (source == nullptr) {
      check->problems.push_back("the source has no such weight");
    } else if (source->stored->shape != Shape{module.rows, module.cols} ||
               !IsRealDType(source->stored->dtype)) {
      check->problems.push_back(absl::StrCat("the source's weight is ", source->stored->dtype_name,
                                             " ", ShapeString(source->stored->shape)));
      source = nullptr;
    }
  }
  for (const PackedView& view : module.Views(*checkpoint_)) CheckScales(module, view, check);
  auto report = report_.find(module.module);
  if (report != report_.end()) CheckDigests(module, report->second, check);

  DecodedError error;
  if (absl::Status status = Decode(module, source, &error); !status.ok()) {
    check->problems.emplace_back(status.message());
    return;
  }
  if (!error.finite()) check->problems.push_back("decodes to values that are not finite");
  if (source == nullptr) return;
  check->error = error.Finish();
  if (report == report_.end()) return;
  CompareErrors(report->second, *check->error, check);
  if (DigestOf(source_->Bytes(*source)) != report->second.source_digest) {
    check->problems.push_back("the source's weight is not the one that was quantized");
  }
  source_->Release(*source);
}

void Verifier::CheckDigests(const QuantizedModule& module, const TensorReport& report,
                            ModuleCheck* check) const {
  std::map<std::string, Digest> stored;
  for (int t : module.tensors) {
    const CheckpointTensor& tensor = checkpoint_->tensors()[t];
    stored[tensor.name()] = DigestOf(checkpoint_->Bytes(tensor));
  }
  if (const std::vector<float>* const scale = FoldedScale(module.module)) {
    stored[absl::StrCat(module.module, kColumnScaleSuffix)] = DigestOf(
        {reinterpret_cast<const std::byte*>(scale->data()), scale->size() * sizeof(float)});
  }
  check->digests = stored.size() == report.packed_digests.size();
  if (!check->digests) {
    check->problems.push_back(absl::StrCat(stored.size(), " stored tensors, ",
                                           report.packed_digests.size(), " in the report"));
  }
  for (const auto& [name, digest] : report.packed_digests) {
    auto it = stored.find(name);
    if (it != stored.end() && it->second == digest) continue;
    check->digests = false;
    check->problems.push_back(absl::StrCat(
        name, it == stored.end() ? ": missing" : ": digest differs from the report's"));
  }
}

void Verifier::CheckScales(const QuantizedModule& module, const PackedView& view,
                           ModuleCheck* check) const {
  if (!absl::StrContains(view.decl.suffix, "scale") || !IsRealDType(view.decl.dtype)) return;
  const size_t size = DTypeBytes(view.decl.dtype);
  for (size_t i = 0; i * size < view.bytes.size(); ++i) {
    float value = 0;
    if (size == 4) {
      std::memcpy(&value, view.bytes.data() + 4 * i, 4);
    } else {
      uint16_t bits;
      std::memcpy(&bits, view.bytes.data() + 2 * i, 2);
      value = view.decl.dtype == DType::kF16 ? FromF16(bits) : FromBF16(bits);
    }
    // A band of zeros has no other additive code.
    if (std::isfinite(value) && (value != 0 || module.spec.levels.additive())) continue;
    check->problems.push_back(absl::StrCat(view.decl.suffix, "[", i, "]: scale is ", value));
    return;
  }
}

absl::Status Verifier::ReadColumnScales() {
  const std::string path = absl::StrCat(flags_.dir, "/", kColumnScalesName);
  QUANTD_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  for (const StoredTensor& tensor : file.tensors()) {
    absl::string_view norm = tensor.name;
    if (!absl::ConsumeSuffix(&norm, kColumnScaleSuffix) || tensor.dtype != DType::kF32) continue;
    std::vector<float>& scale = norm_scales_[std::string(norm)];
    scale.resize(tensor.size() / sizeof(float));
    std::memcpy(scale.data(), file.Bytes(tensor).data(), tensor.size());
  }
  for (const auto& [module, norm] : folded_into_) {
    if (norm_scales_.count(norm) != 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(path, ": has no column scale of ", norm));
  }
  return absl::OkStatus();
}

const std::vector<float>* Verifier::FoldedScale(const std::string& module) const {
  const auto norm = folded_into_.find(module);
  return norm == folded_into_.end() ? nullptr : &norm_scales_.at(norm->second);
}

absl::Status Verifier::Decode(const QuantizedModule& module, const CheckpointTensor* source,
                              DecodedError* error) const {
  const ConfigModule config{module.module, module.rows, module.cols, module.spec, {}};
  const std::vector<PackedView> views = module.Views(*checkpoint_);
  const std::vector<float>* const scale = FoldedScale(module.module);
  for (int64_t row = 0; row < module.rows; row += kRowsAtOnce) {
    const int64_t rows = std::min(kRowsAtOnce, module.rows - row);
    QUANTD_ASSIGN_OR_RETURN(std::vector<float> decoded,
                            DecodeIndependently(module.layout->name(), config, views, row, rows));
    if (decoded.size() != static_cast<size_t>(rows * module.cols)) {
      return absl::InternalError(
          absl::StrCat("decoded ", decoded.size(), " values of ", rows, " rows"));
    }
    if (source == nullptr) {
      const std::vector<float> zeros(decoded.size(), 0.0f);
      error->Add(DType::kF32,
                 {reinterpret_cast<const std::byte*>(zeros.data()), zeros.size() * sizeof(float)},
                 decoded);
      continue;
    }
    // The norm in front divides by the scale that is still in the weight.
    for (size_t i = 0; scale != nullptr && i < decoded.size(); ++i) {
      decoded[i] /= (*scale)[i % scale->size()];
    }
    const size_t row_bytes = module.cols * DTypeBytes(source->stored->dtype);
    error->Add(source->stored->dtype,
               source_->Bytes(*source).subspan(row * row_bytes, rows * row_bytes), decoded);
  }
  return absl::OkStatus();
}

void Verifier::CompareErrors(const TensorReport& report, const ErrorMeasures& decoded,
                             ModuleCheck* check) const {
  const double tolerance = report.spec.transform.any() ? kTransformedTolerance : kRelativeTolerance;
  const auto compare = [&](const char* what, double told, double found) {
    if (Agree(told, found, tolerance)) return;
    check->problems.push_back(
        absl::StrFormat("%s: the report says %.9g, decoding gives %.9g", what, told, found));
  };
  compare("weight_mse", report.error.weight_mse, decoded.weight_mse);
  compare("weight_relative_error", report.error.weight_relative_error,
          decoded.weight_relative_error);
  compare("sqnr_db", report.error.sqnr_db, decoded.sqnr_db);
  compare("max_abs_error", report.error.max_abs_error, decoded.max_abs_error);
  compare("cosine", report.error.cosine, decoded.cosine);
}

// A norm that took a column scale is the source's divided by it.
bool Verifier::IsSourceTensor(const CheckpointTensor& copy, const CheckpointTensor& source) const {
  if (copy.stored->dtype_name != source.stored->dtype_name ||
      copy.stored->shape != source.stored->shape) {
    return false;
  }
  const auto scale = norm_scales_.find(copy.name().substr(0, copy.name().rfind('.')));
  if (scale == norm_scales_.end()) {
    return DigestOf(checkpoint_->Bytes(copy)) == DigestOf(source_->Bytes(source));
  }
  std::vector<std::byte> divided(source.stored->size());
  return DivideByScale(source.stored->dtype, source_->Bytes(source), scale->second,
                       absl::MakeSpan(divided))
             .ok() &&
         DigestOf(divided) == DigestOf(checkpoint_->Bytes(copy));
}

void Verifier::CheckNames() {
  std::set<std::string> modules;
  std::set<int> packed;
  for (const QuantizedModule& module : modules_) {
    modules.insert(module.module);
    packed.insert(module.tensors.begin(), module.tensors.end());
    if (has_report_ && report_.count(module.module) == 0) {
      problems_.push_back(absl::StrCat(module.module, ": quantized, but not in the report"));
    }
    const CheckpointTensor* const dense = checkpoint_->Find(module.module + ".weight");
    if (dense != nullptr &&
        packed.count(static_cast<int>(dense - checkpoint_->tensors().data())) == 0) {
      problems_.push_back(absl::StrCat(module.module, ": its dense weight is still there"));
    }
  }
  for (const auto& [module, report] : report_) {
    if (modules.count(module) == 0 && report.outcome != Outcome::kRejected) {
      problems_.push_back(absl::StrCat(module, ": in the report, but not quantized"));
    }
  }
  if (source_ == nullptr) return;
  for (const CheckpointTensor& tensor : source_->tensors()) {
    const std::string& name = tensor.name();
    if (absl::EndsWith(name, ".weight") && modules.count(ModuleName(name)) != 0) continue;
    const CheckpointTensor* copy = checkpoint_->Find(name);
    if (copy == nullptr) {
      problems_.push_back(absl::StrCat(name, ": in the source, missing here"));
    } else if (!IsSourceTensor(*copy, tensor)) {
      problems_.push_back(absl::StrCat(name, ": not the source's tensor byte for byte"));
    }
  }
  for (size_t t = 0; t < checkpoint_->tensors().size(); ++t) {
    const std::string& name = checkpoint_->tensors()[t].name();
    if (packed.count(static_cast<int>(t)) == 0 && source_->Find(name) == nullptr) {
      problems_.push_back(
          absl::StrCat(name, ": neither in the source nor part of a quantized layer"));
    }
  }
}

// The configs are the same but for the quantization object.
void Verifier::CheckConfig() {
  nlohmann::json here = checkpoint_->config();
  nlohmann::ordered_json source = source_->config();
  // What the layout asks of the rest of the config is no difference.
  if (!modules_.empty()) AdaptModelConfig(modules_.front().layout->name(), &source);
  nlohmann::json there = source;
  for (nlohmann::json* config : {&here, &there}) {
    config->erase("quantization_config");
    config->erase("compression_config");
  }
  std::set<std::string> keys;
  for (const nlohmann::json* config : {&here, &there}) {
    for (const auto& [key, value] : config->items()) keys.insert(key);
  }
  for (const std::string& key : keys) {
    if (here.contains(key) && there.contains(key) && here[key] == there[key]) continue;
    problems_.push_back(absl::StrCat("config.json: ", key, ": not as in the source"));
  }
}

void Verifier::CheckIndex() {
  constexpr char kIndex[] = "model.safetensors.index.json";
  const absl::StatusOr<std::string> text =
      ReadSmallFile(absl::StrCat(flags_.dir, "/", kIndex), 200 << 20);
  if (absl::IsNotFound(text.status())) return;  // a single file
  const nlohmann::json index =
      nlohmann::json::parse(text.ok() ? *text : "", nullptr, /*allow_exceptions=*/false);
  const auto pointer = nlohmann::json::json_pointer("/metadata/total_size");
  const nlohmann::json told =
      index.is_object() && index.contains(pointer) ? index.at(pointer) : nlohmann::json();
  if (told == nlohmann::json(checkpoint_->TotalBytes())) return;
  problems_.push_back(absl::StrCat(kIndex, ": total_size: ", told.dump(), ", the tensors have ",
                                   checkpoint_->TotalBytes(), " bytes"));
}

bool Verifier::Print(std::ostream* out) const {
  TextTable table({{"layer", true},
                   {"shape"},
                   {"bits"},
                   {"decoded error"},
                   {"reported"},
                   {"SQNR dB"},
                   {"digests", true},
                   {"verdict", true}});
  size_t bad = problems_.size();
  for (size_t i = 0; i < modules_.size(); ++i) {
    const QuantizedModule& module = modules_[i];
    const ModuleCheck& check = checks_[i];
    auto report = report_.find(module.module);
    bad += check.problems.size();
    table.AddRow(
        {module.module, absl::StrCat(module.rows, "x", module.cols), BitsText(module.spec.levels),
         check.error ? ErrorNumber(check.error->weight_relative_error) : "-",
         report != report_.end() ? ErrorNumber(report->second.error.weight_relative_error) : "-",
         check.error ? absl::StrFormat("%.2f", check.error->sqnr_db) : "-",
         report == report_.end() ? "-" : (check.digests ? "equal" : "DIFFER"),
         check.problems.empty() ? "ok" : "BAD"});
  }
  *out << table.Text();
  for (size_t i = 0; i < modules_.size(); ++i) {
    for (const std::string& problem : checks_[i].problems) {
      *out << "mismatch: " << modules_[i].module << ": " << problem << "\n";
    }
  }
  for (const std::string& problem : problems_) *out << "mismatch: " << problem << "\n";
  if (!has_report_)
    *out << "note: no " << kReportName << " here: digests and errors not compared\n";
  if (source_ == nullptr) *out << "note: without --source errors are not measured\n";
  const std::string good =
      has_report_ || source_ != nullptr ? "verified" : "readable; nothing to compare with";
  *out << "\n"
       << modules_.size() << " layers, " << checkpoint_->tensors().size()
       << " tensors: " << (bad == 0 ? good : absl::StrCat(bad, " mismatches")) << "\n";
  return bad == 0;
}

}  // namespace

int RunVerify(const VerifyFlags& flags, Environment* env) {
  Verifier verifier(flags);
  if (absl::Status status = verifier.Open(); !status.ok()) return Fail(status, env);
  verifier.Check();
  return verifier.Print(env->out) ? kExitOk : kExitRuntime;
}

}  // namespace quantd::cli
