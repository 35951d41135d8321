// Short forms of several fields of a Spec.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "workers/core/spec_fields.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

constexpr absl::string_view kSchemeFields[] = {"codebooks", "codebook-bits", "in-group",
                                               "out-group"};
constexpr absl::string_view kSchemeGrammar = "MxB[gI][oO], as 2x8, 1x16, 1x8g4 or 2x8g8o2";

// Takes `mark` (if any) and the digits after it off the front of `*rest`; false, with nothing
// taken, where they are not there.
bool TakeNumber(absl::string_view mark, absl::string_view* rest, int64_t* number) {
  if (rest->substr(0, mark.size()) != mark) return false;
  const absl::string_view tail = rest->substr(mark.size());
  const size_t digits =
      std::find_if_not(tail.begin(), tail.end(), absl::ascii_isdigit) - tail.begin();
  if (digits == 0 || !absl::SimpleAtoi(tail.substr(0, digits), number)) return false;
  *rest = tail.substr(digits);
  return true;
}

// M codebooks of 2^B entries, I columns and O rows to a patch.
absl::Status SetScheme(absl::string_view text, Spec* spec) {
  int64_t numbers[] = {0, 0, 8, 1};  // as kSchemeFields
  absl::string_view rest = text;
  const bool whole = TakeNumber("", &rest, &numbers[0]) && TakeNumber("x", &rest, &numbers[1]);
  TakeNumber("g", &rest, &numbers[2]);
  TakeNumber("o", &rest, &numbers[3]);
  if (!whole || !rest.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("scheme: \"", text, "\" is not ", kSchemeGrammar));
  }
  Spec changed = *spec;
  for (size_t i = 0; i < std::size(kSchemeFields); ++i) {
    const SpecField* field = FindSpecField(kSchemeFields[i]);
    const double value = static_cast<double>(numbers[i]);
    QUANTD_RETURN_IF_ERROR(
        CheckFieldValue(*field, value, absl::StrCat("scheme: \"", text, "\": ", field->name)));
    field->set(&changed, value);
  }
  *spec = std::move(changed);
  return absl::OkStatus();
}

std::string SchemeText(const Spec& spec) {
  const Levels& l = spec.levels;
  std::string text = absl::StrCat(l.codebooks, "x", l.codebook_bits);
  if (l.in_group != 8) absl::StrAppend(&text, "g", l.in_group);
  if (l.out_group != 1) absl::StrAppend(&text, "o", l.out_group);
  return text;
}

const SpecShorthand kShorthands[] = {
    {"scheme", kSchemeFields, kSchemeGrammar,
     "additive: M codebooks of 2^B entries for patches of I columns (8) and O rows (1)", SetScheme,
     SchemeText},
};

}  // namespace

absl::Span<const SpecShorthand> SpecShorthands() { return kShorthands; }

const SpecShorthand* FindSpecShorthand(absl::string_view name) {
  for (const SpecShorthand& shorthand : kShorthands) {
    if (shorthand.name == name) return &shorthand;
  }
  return nullptr;
}

std::vector<const SpecField*> FieldsOfKey(absl::string_view key) {
  std::vector<const SpecField*> fields;
  if (const SpecField* field = FindSpecField(key)) fields.push_back(field);
  if (const SpecShorthand* shorthand = FindSpecShorthand(key)) {
    for (const absl::string_view name : shorthand->fields) fields.push_back(FindSpecField(name));
  }
  return fields;
}

}  // namespace quantd
