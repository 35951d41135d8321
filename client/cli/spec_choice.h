// What a user asks for, flag by flag or key by key; what is not asked for stays unset.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "workers/core/spec.h"

namespace quantd::cli {

struct SpecChoice {
  std::optional<std::string> method;  // "rtn", "gptq"
  std::optional<int> bits;
  std::optional<std::string> group_size;  // a number of columns, "row" or "tensor"
  std::optional<Symmetry> symmetry;
  std::optional<FitKind> fit;
  std::optional<Order> order;  // gptq only, like the two below
  std::optional<GroupTiming> timing;
  std::optional<double> damping;  // fraction of mean(diag H)
  std::optional<DType> scale_dtype;
  std::optional<TailPolicy> tail;
};

// Sets one field from text. `key` is spelled as the flag: "bits", "group-size", "symmetry", ...
// INVALID_ARGUMENT naming key, value and what is allowed; NOT_FOUND for an unknown key.
absl::Status SetField(absl::string_view key, absl::string_view value, SpecChoice* choice);

// Every key of SetField, "a, b, c".
std::string KnownKeys();

// `over` wins wherever it is set.
SpecChoice Overlay(const SpecChoice& base, const SpecChoice& over);

// The spec with all defaults filled in, by the same code as the server's. Fields that only gptq
// knows are left aside for other methods. INVALID_ARGUMENT naming the field.
absl::StatusOr<Spec> ResolveSpec(const SpecChoice& choice);

}  // namespace quantd::cli
