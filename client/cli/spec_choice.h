// What a user asks for, flag by flag or key by key; what is not asked for stays unset.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "workers/core/spec.h"

namespace quantd::cli {

struct SpecChoice {
  std::optional<std::string> method;
  // SpecField::name -> text that SetSpecField takes.
  std::map<std::string, std::string> fields;

  bool Has(absl::string_view field) const { return fields.contains(std::string(field)); }
};

// Sets one key from text: "method", any SpecField by name or path, any SpecShorthand (which sets
// its fields, so that the last of several keys wins), or one of two short forms:
//   group-size    a number, "row", "column" or "tensor": granularity and group size at once
//   scale-dtype   F16, BF16 or F32: storage
// INVALID_ARGUMENT naming key, value and what is allowed; NOT_FOUND for an unknown key.
absl::Status SetField(absl::string_view key, absl::string_view value, SpecChoice* choice);

// "key=value[,key=value...]" on top of `choice`. INVALID_ARGUMENT also for a part without '=', an
// unknown key (listing the known ones), and a key that `choice` has already.
absl::Status SetFields(absl::string_view assignments, SpecChoice* choice);

// Every key of SetField, "a, b, c".
std::string KnownKeys();

// `over` wins wherever it is set.
SpecChoice Overlay(const SpecChoice& base, const SpecChoice& over);

// The method's preset ("rtn" where none is named) with the fields on top, by the same code as the
// server's. INVALID_ARGUMENT, naming field and reason, for axes that do not go together.
absl::StatusOr<Spec> ResolveSpec(const SpecChoice& choice);

}  // namespace quantd::cli
