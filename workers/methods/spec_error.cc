#include "workers/methods/spec_error.h"

#include "absl/strings/str_cat.h"
#include "workers/core/spec_fields.h"

namespace quantd {

absl::Status SpecError(absl::string_view field, absl::string_view reason) {
  const SpecField* known = FindSpecField(field);
  return absl::InvalidArgumentError(
      absl::StrCat("spec.", known == nullptr ? field : known->path, ": ", reason));
}

std::string SpecValue(absl::string_view field, const Spec& spec) {
  return SpecFieldText(*FindSpecField(field), spec);
}

}  // namespace quantd
