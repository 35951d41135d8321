// Every field of a Spec in one table: its name, its place on the wire, its range, what it is for.
//
// The command line, recipes, reports, configs, the wire codec and the docs are all driven by this
// table, so a new field is one line here and one in spec.proto. Short forms that stand for several
// fields (SpecShorthand) are for people alone.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "workers/core/spec.h"

namespace quantd {

struct SpecField {
  enum class Type { kInt, kReal, kEnum, kBool };

  absl::string_view name;  // "bits", "group-axis", "fit", ...: what users type
  absl::string_view path;  // "levels.bits": the field below QuantizationSpec on the wire
  Type type = Type::kInt;
  absl::Span<const absl::string_view> names;  // kEnum: by number; [0] = "unspecified"
  double min = 0;                             // kInt, kReal: allowed range, both ends included
  double max = 0;
  absl::string_view help;
  double (*get)(const Spec&) = nullptr;
  void (*set)(Spec*, double) = nullptr;
};

// In the order users see.
absl::Span<const SpecField> SpecFields();

// By name or by path; null for an unknown key.
const SpecField* FindSpecField(absl::string_view key);

// One text that stands for several fields: "scheme" = "2x8g8" for the shape of an additive code.
// Not a field of its own: reports, configs and the wire know only what it sets.
struct SpecShorthand {
  absl::string_view name;
  absl::Span<const absl::string_view> fields;  // names of those that it sets, all of them each time
  absl::string_view grammar;                   // what a text looks like, for messages and docs
  absl::string_view help;
  absl::Status (*set)(absl::string_view text, Spec* spec) = nullptr;  // see SetSpecField
  std::string (*text)(const Spec& spec) = nullptr;  // the shortest that sets what `spec` has
};

absl::Span<const SpecShorthand> SpecShorthands();

// Null for an unknown name.
const SpecShorthand* FindSpecShorthand(absl::string_view name);

// The fields that SetSpecField(key, ...) sets: one, or those of a shorthand; none for an unknown
// key.
std::vector<const SpecField*> FieldsOfKey(absl::string_view key);

// Sets a field from text: numbers as usual, enum values by name or by a prefix that only one value
// has, bools as true/false; or the fields of a shorthand. NOT_FOUND for an unknown key;
// INVALID_ARGUMENT naming key, value and what is allowed, `spec` unchanged. Whether fields go
// together is for CheckSpec (workers/methods/check.h).
absl::Status SetSpecField(absl::string_view key, absl::string_view text, Spec* spec);

// The field's value as SetSpecField takes it.
std::string SpecFieldText(const SpecField& field, const Spec& spec);

// OK if `value` lies in the field's range and, but for kReal, is a whole number; otherwise
// INVALID_ARGUMENT "`where`: VALUE is not in MIN..MAX".
absl::Status CheckFieldValue(const SpecField& field, double value, absl::string_view where);

}  // namespace quantd
