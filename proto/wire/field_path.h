// Checks on single fields from outside, with errors that say which field and which value.
//
// Inside proto/wire only.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "workers/core/digest.h"

namespace quantd::wire {

inline constexpr int kMaxTensors = 4096;    // declarations (or weights) in one header
inline constexpr int kMaxNameBytes = 1024;  // of a tensor's or weight's name
inline constexpr int kMaxJobIdBytes = 128;
inline constexpr int kMaxDimensions = 8;

// Where a field lies: a chain of parents on the callers' stacks, so that a message without errors
// costs no string. A child must not outlive its parent.
class FieldPath {
 public:
  // The root of a message; its own name is not shown.
  FieldPath() = default;
  explicit FieldPath(absl::string_view name) : name_(name) {}

  FieldPath Field(absl::string_view name) const { return FieldPath(this, name, -1); }
  FieldPath At(absl::string_view name, int index) const { return FieldPath(this, name, index); }

  // "tensors[3].shape"
  std::string ToString() const;

 private:
  FieldPath(const FieldPath* parent, absl::string_view name, int index)
      : parent_(parent), name_(name), index_(index) {}

  const FieldPath* parent_ = nullptr;
  absl::string_view name_;
  int index_ = -1;
};

// INVALID_ARGUMENT "path: problem".
absl::Status Invalid(const FieldPath& path, absl::string_view problem);

// A text from outside as error messages may show it: escaped, quoted, at most 64 bytes of it.
std::string Shown(absl::string_view text);

// INVALID_ARGUMENT "path: value is not in range" unless `ok`. Write `ok` so that NaN fails it.
template <typename T>
absl::Status Require(bool ok, const FieldPath& path, T value, absl::string_view range) {
  if (ok) return absl::OkStatus();
  return Invalid(path, absl::StrCat(value, " is not in ", range));
}

// Zero leaves `*out` as it is: at the default. INVALID_ARGUMENT for numbers that `known` (the
// generated X_IsValid) does not know.
template <typename Enum>
absl::Status TakeEnum(const FieldPath& path, int value, bool (*known)(int), Enum* out) {
  if (!known(value)) return Invalid(path, absl::StrCat(value, " is not a known value"));
  if (value != 0) *out = static_cast<Enum>(value);
  return absl::OkStatus();
}

// The same where no default exists.
template <typename Enum>
absl::Status TakeRequiredEnum(const FieldPath& path, int value, bool (*known)(int), Enum* out) {
  if (value == 0) return Invalid(path, "0 (unspecified), a value is needed");
  return TakeEnum(path, value, known, out);
}

// 1..1024 bytes of UTF-8 without control characters.
absl::Status CheckName(const FieldPath& path, absl::string_view name);

// 1..128 printable ASCII characters.
absl::Status CheckJobId(const FieldPath& path, absl::string_view id);

// Sixteen bytes into `*out`; INVALID_ARGUMENT for any other length.
absl::Status TakeDigest(const FieldPath& path, absl::string_view bytes, Digest* out);

}  // namespace quantd::wire
