#include "client/cli/spec_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/text_table.h"
#include "client/files/spec_json.h"
#include "workers/core/spec_names.h"
#include "workers/methods/check.h"

namespace quantd::cli {
namespace {

using Json = nlohmann::ordered_json;

// When a field has a say; fields that are not listed always have.
struct Condition {
  absl::string_view name;
  bool (*holds)(const Spec&);
};

bool Affine(const Spec& s) { return s.levels.affine(); }
bool Groups(const Spec& s) { return s.partition.granularity == Granularity::kGroup; }
bool Searches(const Spec& s) {
  return s.fit.kind == FitKind::kShrinkSearch || s.fit.kind == FitKind::kClipSearch;
}
bool Hqq(const Spec& s) { return s.fit.kind == FitKind::kHqq; }
bool KMeans(const Spec& s) { return s.fit.kind == FitKind::kKMeans; }
bool Additive(const Spec& s) { return s.levels.additive(); }
bool Given(const Spec& s) { return s.fit.kind == FitKind::kGiven; }
bool ResidualKMeans(const Spec& s) { return s.fit.kind == FitKind::kResidualKMeans; }
bool Beam(const Spec& s) { return s.solve.solver == Solver::kBeam; }
// Codebooks change in the course of the solve.
bool Alternates(const Spec& s) { return Beam(s) && !Given(s); }
bool Adam(const Spec& s) { return Alternates(s) && s.solve.update == CodebookRule::kAdam; }
bool IntStorage(const Spec& s) { return s.storage.kind == StorageKind::kInt; }
bool Rotates(const Spec& s) { return s.transform.rotation != RotationKind::kNone; }
bool Corrects(const Spec& s) { return s.transform.correction != CorrectionKind::kNone; }
bool Outliers(const Spec& s) { return s.exceptions.stores_outliers(); }
bool Threshold(const Spec& s) { return s.exceptions.outliers == OutlierKind::kThreshold; }
bool ByColumn(const Spec& s) { return s.exceptions.outliers == OutlierKind::kColumnShare; }
bool Masks(const Spec& s) { return s.exceptions.mask_of > 0; }
bool ColumnScore(const Spec& s) { return s.allocation.kind == AllocationKind::kColumnScore; }
bool Sweeps(const Spec& s) { return s.solve.solver == Solver::kGptq; }

constexpr Condition kConditions[] = {
    {"bits", [](const Spec& s) { return !Additive(s); }},
    {"symmetry", Affine},
    {"zero", [](const Spec& s) { return Affine(s) && !s.levels.symmetric(); }},
    {"format", [](const Spec& s) { return s.levels.kind == LevelKind::kMinifloat; }},
    {"table", [](const Spec& s) { return s.levels.kind == LevelKind::kFixedTable; }},
    {"codebooks", Additive},
    {"codebook-bits", Additive},
    {"out-group", Additive},
    {"in-group", Additive},
    {"group-size", Groups},
    {"group-axis", Groups},
    {"strided", [](const Spec& s) { return Groups(s) && s.partition.axis != GroupAxis::kOut; }},
    {"tail", Groups},
    {"fit-steps", Searches},
    {"shrink-to", Searches},
    {"norm", [](const Spec& s) { return s.fit.kind == FitKind::kShrinkSearch || Hqq(s); }},
    {"fit-iterations", [](const Spec& s) { return Hqq(s) || KMeans(s) || ResidualKMeans(s); }},
    {"beta", Hqq},
    {"kappa", Hqq},
    {"importance", KMeans},
    {"fine-bits", [](const Spec& s) { return s.fit.kind == FitKind::kBinarySearch; }},
    {"seeding", ResidualKMeans},
    {"fit-seed", Additive},
    {"refine-rounds", ResidualKMeans},
    {"points-per-center", ResidualKMeans},
    {"scale-rounding", [](const Spec& s) { return s.storage.kind == StorageKind::kE8M0; }},
    {"scale-bits",
     [](const Spec& s) { return IntStorage(s) || s.storage.kind == StorageKind::kTable; }},
    {"super-group", IntStorage},
    {"scaling", [](const Spec& s) { return s.transform.scaling != ScalingKind::kNone; }},
    {"scaling-steps", [](const Spec& s) { return s.transform.scaling == ScalingKind::kAwq; }},
    {"scaling-alpha", [](const Spec& s) { return s.transform.scaling == ScalingKind::kSmooth; }},
    {"rotation", Rotates},
    {"rotation-block", Rotates},
    {"seed", Rotates},
    {"correction", Corrects},
    {"correction-alpha", Corrects},
    {"correction-damping", Corrects},
    {"outliers", Outliers},
    {"outlier-share", [](const Spec& s) { return Outliers(s) && !Threshold(s); }},
    {"second-share",
     [](const Spec& s) {
       return s.exceptions.outliers == OutlierKind::kRangeFisher || ByColumn(s);
     }},
    {"column-share", ByColumn},
    {"threshold", Threshold},
    {"max-share", Threshold},
    {"kept-columns", [](const Spec& s) { return s.exceptions.kept_columns > 0; }},
    {"mask-kept", Masks},
    {"mask-of", Masks},
    {"recent-rows", [](const Spec& s) { return s.exceptions.recent_rows > 0; }},
    {"allocation", [](const Spec& s) { return s.allocation.kind != AllocationKind::kUniform; }},
    {"high-bits", ColumnScore},
    {"high-share", ColumnScore},
    {"error-factor", [](const Spec& s) { return s.allocation.kind == AllocationKind::kRoundOff; }},
    {"order", Sweeps},
    {"timing", Sweeps},
    {"factorization", Sweeps},
    {"block-columns", Sweeps},
    {"damping", Sweeps},
    {"damping-step", Sweeps},
    {"damping-limit", Sweeps},
    {"asymmetric", [](const Spec& s) { return Sweeps(s) && s.solve.asymmetric > 0; }},
    {"descent-passes", Sweeps},
    {"fallback-descent-passes", Sweeps},
    {"beam", Beam},
    {"rounds", Beam},
    {"tolerance", Beam},
    {"update", Alternates},
    {"update-steps", Alternates},
    {"learning-rate", Adam},
    {"adam", Adam},
    {"changed-share", Given},
};

std::string LevelsText(const Spec& spec) {
  const auto name = [&spec](absl::string_view field) {
    return SpecFieldText(*FindSpecField(field), spec);
  };
  switch (spec.levels.kind) {
    case LevelKind::kMinifloat:
      return name("format");
    case LevelKind::kFixedTable:
      return name("table");
    case LevelKind::kLearnedTable:
      return absl::StrCat("table", spec.levels.bits);
    case LevelKind::kBinaryCoding:
      return absl::StrCat("binary", spec.levels.bits);
    case LevelKind::kCluster:
      return "cluster";
    case LevelKind::kAdditive:
      return FindSpecShorthand("scheme")->text(spec);
    default:
      return absl::StrCat("int", spec.levels.bits);
  }
}

std::string GroupsText(const Partition& p) {
  if (p.granularity != Granularity::kGroup) {
    return absl::StrCat("per-", GranularityName(p.granularity));
  }
  return absl::StrCat("g", p.group_size,
                      p.axis == GroupAxis::kOut ? "" : absl::StrCat("-", GroupAxisName(p.axis)));
}

// Words wrapped to 88 columns below a label of 19.
void AddParagraph(absl::string_view label, absl::string_view text, std::string* out) {
  if (text.empty()) return;
  std::string line = absl::StrFormat("  %-17s", label);
  size_t at = 0;
  for (size_t width = line.size(); at < text.size();) {
    size_t end = text.find(' ', at);
    if (end == absl::string_view::npos) end = text.size();
    if (width > 19 && width + end - at > 88) {
      absl::StrAppend(&line, "\n", std::string(19, ' '));
      width = 18;
    }
    absl::StrAppend(&line, " ", text.substr(at, end - at));
    width += 1 + end - at;
    at = end + 1;
  }
  absl::StrAppend(out, line, "\n");
}

std::string Statistics(const Spec& spec) {
  std::vector<std::string> required;
  for (Role role : RequiredRoles(spec)) {
    required.emplace_back(role == Role::kHessian ? "HESSIAN or ACTIVATIONS"
                                                 : std::string(RoleName(role)));
  }
  if (!required.empty()) return absl::StrJoin(required, ", ");
  return Beam(spec) ? "none; HESSIAN or ACTIVATIONS where there is one" : "none";
}

}  // namespace

bool FieldMatters(const SpecField& field, const Spec& spec) {
  for (const Condition& condition : kConditions) {
    if (condition.name == field.name) return condition.holds(spec);
  }
  return true;
}

Json SpecForReport(const Spec& spec) {
  const Json whole = WholeSpecToJson(spec);
  Json json = {{"method", spec.method}};
  for (const SpecField& field : SpecFields()) {
    const std::string name(field.name);
    if (FieldMatters(field, spec)) json[name] = whole.at(name);
  }
  return json;
}

std::string BitsText(const Levels& levels) {
  return levels.additive() ? absl::StrFormat("%.3g", levels.additive_bits())
                           : absl::StrCat(levels.bits);
}

std::string SpecSummary(const Spec& spec) {
  std::string text =
      absl::StrCat(spec.method, " ", LevelsText(spec), " ", GroupsText(spec.partition));
  if (Affine(spec)) absl::StrAppend(&text, " ", SymmetryName(spec.levels.symmetry));
  absl::StrAppend(&text, " ", StorageKindName(spec.storage.kind));
  if (spec.fit.kind != FitKind::kMinMax && !ResidualKMeans(spec)) {
    absl::StrAppend(&text, " ", FitKindName(spec.fit.kind));
  }
  if (Sweeps(spec)) absl::StrAppend(&text, " ", OrderName(spec.solve.order));
  if (Beam(spec)) absl::StrAppend(&text, " beam=", spec.solve.beam);
  for (absl::string_view name : {"rotation", "correction", "outliers", "allocation"}) {
    const SpecField& field = *FindSpecField(name);
    if (FieldMatters(field, spec)) {
      absl::StrAppend(&text, " ", name, "=", SpecFieldText(field, spec));
    }
  }
  if (Masks(spec)) {
    absl::StrAppend(&text, " ", spec.exceptions.mask_kept, ":", spec.exceptions.mask_of);
  }
  return text;
}

std::string DescribeMethod(const Method& method) {
  const Spec spec = method.defaults();
  std::string text = absl::StrCat(method.name, ": ", method.title, "\n");
  AddParagraph("paper", method.paper, &text);
  AddParagraph("needs", method.needs, &text);
  AddParagraph("statistics", Statistics(spec), &text);
  AddParagraph("when not to use", method.when_not_to_use, &text);
  AddParagraph("reading", method.reading, &text);
  absl::StrAppend(&text, "  axes\n");
  const auto add_axis = [&text](absl::string_view name, absl::string_view value,
                                absl::string_view help) {
    absl::StrAppendFormat(&text, "    %-24s %-22s %s\n", name, value, help);
  };
  for (const SpecField& field : SpecFields()) {
    if (!FieldMatters(field, spec)) continue;
    for (const SpecShorthand& shorthand : SpecShorthands()) {
      if (shorthand.fields.front() != field.name) continue;
      add_axis(shorthand.name, shorthand.text(spec),
               absl::StrCat("short for ", absl::StrJoin(shorthand.fields, ", "), ": ",
                            shorthand.grammar));
    }
    const bool fixed =
        std::find(method.fixed.begin(), method.fixed.end(), field.name) != method.fixed.end();
    add_axis(field.name, absl::StrCat(SpecFieldText(field, spec), fixed ? " (fixed)" : ""),
             field.help);
  }
  return text;
}

}  // namespace quantd::cli
