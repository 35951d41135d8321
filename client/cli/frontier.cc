#include "client/cli/frontier.h"

#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/candidates.h"
#include "client/cli/report_json.h"
#include "client/files/spec_json.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kFrontierVersion = 1;

Json ToJson(const MeasuredCandidate& c) {
  Json json = {{"asked", c.key}, {"outcome", OutcomeName(c.outcome)}};
  if (!c.reason.empty()) json["reason"] = c.reason;
  if (c.outcome == Outcome::kRejected) return json;
  json["code_bits"] = c.code_bits;
  json["block"] = c.block;
  json["bytes"] = c.bytes;
  json["weight_error"] = c.weight_error;
  if (c.output_error.has_value()) json["output_error"] = *c.output_error;
  json["seconds"] = c.seconds;
  return json;
}

// What a line of the file says; nothing for one that is no candidate.
std::optional<MeasuredCandidate> FromJson(const Json& json) {
  const auto number = [&json](const char* key) {
    const auto it = json.find(key);
    return it != json.end() && it->is_number() ? it->get<double>() : std::nan("");
  };
  if (!json.is_object() || !json.value("asked", Json()).is_string()) return std::nullopt;
  MeasuredCandidate c;
  c.key = json["asked"];
  const Json outcome = json.value("outcome", Json());
  for (const Outcome known : {Outcome::kOk, Outcome::kDegraded, Outcome::kRejected}) {
    if (outcome == Json(OutcomeName(known))) c.outcome = known;
  }
  const Json reason = json.value("reason", Json(""));
  if (reason.is_string()) c.reason = reason;
  if (c.outcome == Outcome::kRejected) return c;
  c.code_bits = number("code_bits");
  c.weight_error = number("weight_error");
  c.seconds = number("seconds");
  if (json.contains("output_error")) c.output_error = number("output_error");
  const Json bytes = json.value("bytes", Json()), block = json.value("block", Json());
  const bool whole = bytes.is_number_unsigned() && block.is_number_unsigned() &&
                     std::isfinite(c.code_bits) && c.error() >= 0 && std::isfinite(c.error()) &&
                     std::isfinite(c.seconds);
  if (!whole || c.outcome == Outcome::kUnspecified) return std::nullopt;
  c.bytes = bytes;
  c.block = block;
  return c;
}

std::optional<LayerFrontier> Parse(const JournalEntry& entry) {
  const Json json = Json::parse(entry.report_json, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.value("candidates", Json()).is_array()) return std::nullopt;
  LayerFrontier layer;
  layer.module = entry.module;
  layer.source = entry.source;
  for (const Json& item : json["candidates"]) {
    std::optional<MeasuredCandidate> candidate = FromJson(item);
    if (candidate.has_value()) layer.candidates.push_back(*std::move(candidate));
  }
  return layer;
}

}  // namespace

const MeasuredCandidate* LayerFrontier::Find(const std::string& key) const {
  for (const MeasuredCandidate& candidate : candidates) {
    if (candidate.key == key) return &candidate;
  }
  return nullptr;
}

std::string KeyOf(const Spec& spec, absl::string_view layout) {
  return absl::StrCat(layout, " ", SpecToJson(spec).dump());
}

MeasuredCandidate MeasuredFrom(const std::string& key, const TensorReport& report) {
  MeasuredCandidate c;
  c.key = key;
  c.outcome = report.outcome;
  c.reason = report.reason;
  if (report.outcome == Outcome::kRejected) return c;
  c.block = BlockOf(report.spec, report.rows, report.cols);
  c.code_bits = report.code_bits_per_weight;
  const double weights = static_cast<double>(report.rows) * static_cast<double>(report.cols);
  c.bytes = static_cast<uint64_t>(std::llround(report.all_in_bits_per_weight * weights / 8));
  c.weight_error = report.error.weight_relative_error;
  c.output_error = report.error.output_relative_error;
  c.seconds = report.seconds;
  return c;
}

absl::StatusOr<std::unique_ptr<FrontierFile>> FrontierFile::Open(const std::string& path) {
  const fs::path whole = fs::absolute(path);
  const std::string folder = whole.parent_path().string(), name = whole.filename().string();
  const std::string kind = absl::StrCat("frontier ", kFrontierVersion, " ", QUANTD_VERSION);
  const Digest digest = DigestOf({reinterpret_cast<const std::byte*>(kind.data()), kind.size()});
  std::error_code error;
  if (!fs::exists(whole, error)) {
    QUANTD_ASSIGN_OR_RETURN(std::unique_ptr<Journal> journal,
                            Journal::Create(folder, digest, name));
    return std::unique_ptr<FrontierFile>(new FrontierFile(std::move(journal)));
  }
  std::vector<JournalEntry> entries;
  absl::StatusOr<std::unique_ptr<Journal>> journal =
      Journal::Reopen(folder, digest, &entries, name);
  if (!journal.ok()) {
    return absl::Status(journal.status().code(),
                        absl::StrCat("--frontier: \"", path,
                                     "\" is no frontier of this version, or another run writes it "
                                     "(name another one, or remove it): ",
                                     journal.status().message()));
  }
  std::unique_ptr<FrontierFile> file(new FrontierFile(*std::move(journal)));
  for (const JournalEntry& entry : entries) {
    std::optional<LayerFrontier> layer = Parse(entry);
    if (layer.has_value()) file->known_.insert_or_assign(entry.module, *std::move(layer));
  }
  return file;
}

const LayerFrontier* FrontierFile::Find(const std::string& module, const Digest& source) const {
  const auto it = known_.find(module);
  return it != known_.end() && it->second.source == source ? &it->second : nullptr;
}

absl::Status FrontierFile::Append(const LayerFrontier& layer) {
  Json json;
  json["candidates"] = Json::array();
  for (const MeasuredCandidate& candidate : layer.candidates) {
    json["candidates"].push_back(ToJson(candidate));
  }
  JournalEntry entry;
  entry.module = layer.module;
  entry.source = layer.source;
  entry.report_json = json.dump();
  return journal_->Append(entry);
}

}  // namespace quantd::cli
