#include "client/cli/spec_choice.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "workers/core/spec_fields.h"
#include "workers/core/status_macros.h"
#include "workers/methods/check.h"
#include "workers/methods/method.h"
#include "workers/methods/resolve.h"

namespace quantd::cli {
namespace {

absl::Status Bad(absl::string_view key, absl::string_view value, absl::string_view allowed) {
  return absl::InvalidArgumentError(absl::StrCat(key, ": \"", value, "\" is not ", allowed));
}

absl::Status SetMethod(absl::string_view value, SpecChoice* choice) {
  std::string known;
  for (const Method* method : AllMethods()) {
    if (method->name == value) {
      choice->method = std::string(value);
      return absl::OkStatus();
    }
    absl::StrAppend(&known, known.empty() ? "" : ", ", method->name);
  }
  return Bad("method", value, known);
}

absl::Status SetGroupSize(absl::string_view value, SpecChoice* choice) {
  if (value == "row" || value == "tensor" || value == "column") {
    choice->fields["granularity"] = std::string(value);
    return absl::OkStatus();
  }
  int64_t size = 0;
  if (!absl::SimpleAtoi(value, &size) || size < 1 || size > (int64_t{1} << 30)) {
    return Bad("group-size", value, "a number from 1 up, \"row\", \"column\" or \"tensor\"");
  }
  choice->fields["granularity"] = "group";
  choice->fields["group-size"] = absl::StrCat(size);
  return absl::OkStatus();
}

}  // namespace

absl::Status SetField(absl::string_view key, absl::string_view value, SpecChoice* choice) {
  if (key == "method") return SetMethod(value, choice);
  if (key == "group-size") return SetGroupSize(value, choice);
  if (key == "scale-dtype") {
    if (value != "F16" && value != "BF16" && value != "F32") {
      return Bad(key, value, "F16, BF16, F32");
    }
    choice->fields["storage"] = absl::AsciiStrToLower(value);
    return absl::OkStatus();
  }
  Spec scratch;
  QUANTD_RETURN_IF_ERROR(SetSpecField(key, value, &scratch));
  for (const SpecField* field : FieldsOfKey(key)) {
    choice->fields[std::string(field->name)] = SpecFieldText(*field, scratch);
  }
  return absl::OkStatus();
}

absl::Status SetFields(absl::string_view assignments, SpecChoice* choice) {
  for (absl::string_view part : absl::StrSplit(assignments, ',')) {
    const std::pair<absl::string_view, absl::string_view> both =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    const auto& [key, value] = both;
    if (key.empty() || value.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("\"", part, "\" is not KEY=VALUE"));
    }
    SpecChoice one;
    const absl::Status status = SetField(key, value, &one);
    if (absl::IsNotFound(status)) {
      return absl::InvalidArgumentError(absl::StrCat(status.message(), "; known: ", KnownKeys()));
    }
    QUANTD_RETURN_IF_ERROR(status);
    if (one.method && choice->method) {
      return absl::InvalidArgumentError("method: is given twice");
    }
    if (one.method) choice->method = one.method;
    for (auto& [name, text] : one.fields) {
      if (!choice->fields.emplace(name, std::move(text)).second) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": is given twice"));
      }
    }
  }
  return absl::OkStatus();
}

std::string KnownKeys() {
  std::string known = "method";
  for (const SpecField& field : SpecFields()) absl::StrAppend(&known, ", ", field.name);
  for (const SpecShorthand& shorthand : SpecShorthands()) {
    absl::StrAppend(&known, ", ", shorthand.name);
  }
  return absl::StrCat(known, ", scale-dtype");
}

SpecChoice Overlay(const SpecChoice& base, const SpecChoice& over) {
  SpecChoice result = base;
  if (over.method) result.method = over.method;
  for (const auto& [name, text] : over.fields) result.fields[name] = text;
  return result;
}

absl::StatusOr<Spec> ResolveSpec(const SpecChoice& choice) {
  const std::vector<std::pair<std::string, std::string>> settings(choice.fields.begin(),
                                                                  choice.fields.end());
  QUANTD_ASSIGN_OR_RETURN(Spec spec, quantd::ResolveSpec(choice.method.value_or("rtn"), settings));
  QUANTD_RETURN_IF_ERROR(CheckSpec(spec));
  return spec;
}

}  // namespace quantd::cli
