#include "client/cli/law_profiles.h"

#include <yaml-cpp/yaml.h>

#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/scaling_laws.h"
#include "client/files/checkpoint.h"
#include "workers/core/status_macros.h"

namespace quantd::cli {
namespace {

constexpr uint64_t kMaxBytes = 1 << 20;

// One entry of the list: reads keys, and knows in the end which were not read.
class Entry {
 public:
  Entry(const YAML::Node& node, absl::string_view file) : node_(node), file_(file) {}

  absl::Status Wrong(absl::string_view what) const { return WrongAt(node_, what); }

  absl::StatusOr<std::string> Text(const char* key) {
    const YAML::Node value = Take(key);
    if (!value.IsDefined()) return Wrong(absl::StrCat(key, ": is missing"));
    if (!value.IsScalar()) return WrongAt(value, absl::StrCat(key, ": one value is wanted here"));
    return value.Scalar();
  }

  // A number above `least`; `missing` where the key is not there.
  absl::Status Number(const char* key, double least, bool with_least, double* out,
                      std::optional<double> missing = std::nullopt) {
    const YAML::Node value = Take(key);
    if (!value.IsDefined() && missing.has_value()) {
      *out = *missing;
      return absl::OkStatus();
    }
    if (!value.IsDefined()) return Wrong(absl::StrCat(key, ": is missing"));
    if (!value.IsScalar() || !absl::SimpleAtod(value.Scalar(), out) || !std::isfinite(*out) ||
        *out < least || (*out == least && !with_least)) {
      return WrongAt(value, absl::StrCat(key, ": a number ", with_least ? "from " : "above ", least,
                                         " is wanted here"));
    }
    return absl::OkStatus();
  }

  // Zeros where the key is not there.
  absl::Status Range(const char* key, LawRange* out) {
    const YAML::Node value = Take(key);
    if (!value.IsDefined()) return absl::OkStatus();
    const bool pair = value.IsSequence() && value.size() == 2 && value[0].IsScalar() &&
                      value[1].IsScalar() && absl::SimpleAtod(value[0].Scalar(), &out->least) &&
                      absl::SimpleAtod(value[1].Scalar(), &out->most) && out->least >= 0 &&
                      out->least <= out->most && out->most > 0 && std::isfinite(out->most);
    if (pair) return absl::OkStatus();
    return WrongAt(value, absl::StrCat(key, ": [LEAST, MOST] is wanted here, from 0 up"));
  }

  // After everything was read.
  absl::Status CheckKeys() const {
    std::set<std::string> seen;
    for (const auto& item : node_) {
      if (!item.first.IsScalar()) return WrongAt(item.first, "a key must be a plain word");
      const std::string& key = item.first.Scalar();
      if (!seen.insert(key).second) {
        return WrongAt(item.first, absl::StrCat("key \"", key, "\" stands here twice"));
      }
      if (!taken_.contains(key)) {
        return WrongAt(item.first, absl::StrCat("unknown key \"", key, "\""));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status WrongAt(const YAML::Node& node, absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, ":", node.Mark().line + 1, ": ", what));
  }

  YAML::Node Take(const char* key) {
    taken_.insert(key);
    return node_[key];
  }

  const YAML::Node node_;
  const absl::string_view file_;
  std::set<std::string> taken_;
};

absl::Status ParseLaw(Entry* entry, ScalingLaw* law) {
  QUANTD_RETURN_IF_ERROR(entry->Number("c", 0, false, &law->c));
  QUANTD_RETURN_IF_ERROR(entry->Number("a", 0, false, &law->a));
  QUANTD_RETURN_IF_ERROR(entry->Number("gamma-n", 0, false, &law->gamma_n));
  QUANTD_RETURN_IF_ERROR(entry->Number("gamma-b", 0, true, &law->gamma_b, 0));
  QUANTD_RETURN_IF_ERROR(entry->Number("d", 0, true, &law->d, 0));
  QUANTD_RETURN_IF_ERROR(entry->Number("residual", 0, true, &law->residual, 0));
  QUANTD_RETURN_IF_ERROR(entry->Range("billions", &law->domain.billions));
  QUANTD_RETURN_IF_ERROR(entry->Range("low-share", &law->domain.low_share));
  return entry->Range("block", &law->domain.block);
}

absl::Status ParseLine(Entry* entry, BudgetLine* line) {
  QUANTD_RETURN_IF_ERROR(entry->Number("rise", 0, false, &line->rise));
  QUANTD_RETURN_IF_ERROR(entry->Number("slope", -1e6, true, &line->slope));
  if (line->slope >= 0) return entry->Wrong("slope: a number below 0 is wanted here");
  QUANTD_RETURN_IF_ERROR(entry->Number("intercept", -1e6, true, &line->intercept));
  QUANTD_RETURN_IF_ERROR(entry->Range("billions", &line->domain.billions));
  return entry->Range("low-share", &line->domain.low_share);
}

absl::Status ParsePower(Entry* entry, BlockPower* power) {
  QUANTD_RETURN_IF_ERROR(entry->Number("billions", 0, false, &power->billions));
  QUANTD_RETURN_IF_ERROR(entry->Number("low-share", 0, true, &power->low_share));
  QUANTD_RETURN_IF_ERROR(entry->Number("factor", 0, false, &power->factor));
  QUANTD_RETURN_IF_ERROR(entry->Number("exponent", 0, false, &power->exponent));
  return entry->Range("block", &power->block);
}

absl::StatusOr<LawProfile> ParseProfile(const YAML::Node& node, absl::string_view file) {
  Entry entry(node, file);
  if (!node.IsMap()) return entry.Wrong("a profile is a map");
  LawProfile profile;
  QUANTD_ASSIGN_OR_RETURN(profile.name, entry.Text("name"));
  QUANTD_ASSIGN_OR_RETURN(profile.provenance, entry.Text("provenance"));
  QUANTD_ASSIGN_OR_RETURN(profile.holds_for, entry.Text("holds-for"));
  QUANTD_ASSIGN_OR_RETURN(const std::string kind, entry.Text("kind"));
  absl::Status status;
  if (kind == "law") {
    status = ParseLaw(&entry, &profile.law.emplace<ScalingLaw>());
  } else if (kind == "budget-line") {
    status = ParseLine(&entry, &profile.law.emplace<BudgetLine>());
  } else if (kind == "block-power") {
    status = ParsePower(&entry, &profile.law.emplace<BlockPower>());
  } else {
    status =
        entry.Wrong(absl::StrCat("kind: \"", kind, "\" is not in law, budget-line, block-power"));
  }
  QUANTD_RETURN_IF_ERROR(status);
  QUANTD_RETURN_IF_ERROR(entry.CheckKeys());
  return profile;
}

}  // namespace

absl::StatusOr<std::vector<LawProfile>> ParseLawProfiles(const std::string& yaml,
                                                         absl::string_view file) {
  YAML::Node root;
  try {
    root = YAML::Load(yaml);
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(file, ":", e.mark.line + 1, ": ", e.msg));
  }
  if (!root.IsSequence()) {
    return absl::InvalidArgumentError(absl::StrCat(file, ":1: a list of profiles is wanted here"));
  }
  std::vector<LawProfile> profiles;
  std::set<std::string> names;
  for (const YAML::Node& node : root) {
    QUANTD_ASSIGN_OR_RETURN(LawProfile profile, ParseProfile(node, file));
    if (!names.insert(profile.name).second) {
      return Entry(node, file).Wrong(absl::StrCat("name: \"", profile.name, "\" is taken"));
    }
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

absl::StatusOr<std::vector<LawProfile>> LoadLawProfiles(const std::string& path) {
  QUANTD_ASSIGN_OR_RETURN(std::vector<LawProfile> profiles,
                          ParseLawProfiles(kScalingLawsYaml, "scaling_laws.yaml"));
  if (path.empty()) return profiles;
  QUANTD_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxBytes));
  QUANTD_ASSIGN_OR_RETURN(std::vector<LawProfile> more, ParseLawProfiles(text, path));
  for (LawProfile& profile : more) {
    const auto same = [&profile](const LawProfile& p) { return p.name == profile.name; };
    profiles.erase(std::remove_if(profiles.begin(), profiles.end(), same), profiles.end());
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

absl::StatusOr<LawProfile> FindLawProfile(const std::vector<LawProfile>& profiles,
                                          absl::string_view name) {
  std::string known;
  for (const LawProfile& profile : profiles) {
    if (profile.name == name) return profile;
    absl::StrAppend(&known, known.empty() ? "" : ", ", profile.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("there is no scaling law \"", name, "\"; known: ", known));
}

std::string LawProfileYaml(const std::string& name, const std::string& provenance,
                           const LawFit& fit) {
  const ScalingLaw& law = fit.law;
  const auto range = [](const LawRange& r) {
    return absl::StrFormat("[%.17g, %.17g]", r.least, r.most);
  };
  return absl::StrFormat(
      "- name: %s\n  kind: law\n  provenance: %s\n  holds-for: the models and the format of these "
      "points\n  c: %.6g\n  a: %.6g\n  gamma-n: %.6g\n  gamma-b: %.6g\n  d: %g\n  residual: %.4g\n"
      "  billions: %s\n  low-share: %s\n  block: %s\n",
      name, provenance, law.c, law.a, law.gamma_n, law.gamma_b, law.d, law.residual,
      range(law.domain.billions), range(law.domain.low_share), range(law.domain.block));
}

}  // namespace quantd::cli
