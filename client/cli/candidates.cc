#include "client/cli/candidates.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/files/spec_json.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

constexpr size_t kMaxCandidates = 256;

struct Setting {
  std::string key;
  std::vector<std::string> values;
};

absl::Status Refused(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("--candidates: \"", text, "\": ", why));
}

absl::StatusOr<std::vector<Setting>> ParseSettings(absl::string_view text,
                                                   absl::string_view settings) {
  std::vector<Setting> list;
  for (absl::string_view part : absl::StrSplit(settings, ',')) {
    const std::pair<absl::string_view, absl::string_view> both =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    Setting setting;
    setting.key = std::string(absl::StripAsciiWhitespace(both.first));
    const absl::Status malformed =
        Refused(text, absl::StrCat("\"", part, "\" is not KEY=VALUE[|VALUE...]"));
    if (setting.key.empty() || both.second.empty()) return malformed;
    for (absl::string_view value : absl::StrSplit(both.second, '|')) {
      setting.values.emplace_back(absl::StripAsciiWhitespace(value));
      if (setting.values.back().empty()) return malformed;
    }
    list.push_back(std::move(setting));
  }
  return list;
}

// One combination: `digits` counts through the values, the last setting fastest.
absl::StatusOr<Candidate> Combine(const std::string& method, const std::vector<Setting>& settings,
                                  const std::vector<size_t>& digits) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < settings.size(); ++i) {
    parts.push_back(absl::StrCat(settings[i].key, "=", settings[i].values[digits[i]]));
  }
  Candidate candidate;
  candidate.name = absl::StrCat(method, parts.empty() ? "" : ":", absl::StrJoin(parts, ","));
  absl::Status status = SetField("method", method, &candidate.choice);
  if (status.ok() && !parts.empty()) {
    status = SetFields(absl::StrJoin(parts, ","), &candidate.choice);
  }
  if (!status.ok()) return Refused(candidate.name, status.message());
  absl::StatusOr<Spec> spec = ResolveSpec(candidate.choice);
  if (!spec.ok()) return Refused(candidate.name, spec.status().message());
  candidate.spec = *std::move(spec);
  return candidate;
}

absl::Status ParseOne(absl::string_view text, std::vector<Candidate>* list) {
  const std::pair<absl::string_view, absl::string_view> both =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  const std::string method(absl::StripAsciiWhitespace(both.first));
  std::vector<Setting> settings;
  if (!absl::StripAsciiWhitespace(both.second).empty()) {
    QUANTD_ASSIGN_OR_RETURN(settings, ParseSettings(text, both.second));
  }
  std::vector<size_t> digits(settings.size(), 0);
  for (bool more = true; more;) {
    if (list->size() == kMaxCandidates) {
      return Refused(text, absl::StrCat("there are more than ", kMaxCandidates, " candidates"));
    }
    QUANTD_ASSIGN_OR_RETURN(Candidate candidate, Combine(method, settings, digits));
    list->push_back(std::move(candidate));
    more = false;
    for (size_t i = settings.size(); i-- > 0 && !more;) {
      more = ++digits[i] < settings[i].values.size();
      if (!more) digits[i] = 0;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Candidate>> ParseCandidates(const std::vector<std::string>& texts) {
  std::vector<Candidate> list;
  for (const std::string& text : texts) {
    for (absl::string_view one : absl::StrSplit(text, ';')) {
      if (!absl::StripAsciiWhitespace(one).empty()) QUANTD_RETURN_IF_ERROR(ParseOne(one, &list));
    }
  }
  if (list.empty()) return absl::InvalidArgumentError("--candidates: none are named");
  std::set<std::string> specs;
  for (const Candidate& candidate : list) {
    if (!specs.insert(SpecToJson(candidate.spec).dump()).second) {
      return Refused(candidate.name, "another candidate has the same spec");
    }
  }
  return list;
}

std::vector<std::string> DefaultCandidates(bool with_statistics, bool for_low_share) {
  if (for_low_share) return {"mxint4:group-size=32"};
  if (with_statistics) {
    return {"gptq:bits=2|3|4,group-size=32|64|128", "gptq:bits=5|6|8,group-size=128"};
  }
  return {"rtn:bits=2|3|4,group-size=32|64|128,fit=shrink-search",
          "rtn:bits=5|6|8,group-size=128,fit=shrink-search"};
}

int64_t BlockOf(const Spec& spec, int64_t rows, int64_t cols) {
  if (spec.levels.additive()) {
    return spec.levels.out_group * spec.partition.GroupColumns(cols);
  }
  if (spec.partition.granularity == Granularity::kTensor) return rows * cols;
  return spec.partition.GroupRows(rows) * spec.partition.GroupColumns(cols);
}

}  // namespace quantd::cli
