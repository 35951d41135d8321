// Regular expressions over module paths, from options, recipes and config files.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace quantd {

// RE2 syntax: no look-around, no back-references; case matters. The time of a match grows with the
// name alone, whatever the pattern. Copies share the compiled form; all const calls are
// thread-safe.
class NamePattern {
 public:
  // What people write and models have stays far below both.
  static constexpr size_t kMaxPattern = 512;
  static constexpr size_t kMaxName = 1024;

  // INVALID_ARGUMENT naming the pattern when it is empty, too long or malformed.
  static absl::StatusOr<NamePattern> Compile(const std::string& text);

  const std::string& text() const { return text_; }

  // Anywhere in `name` / beginning with its first character. INVALID_ARGUMENT when the name is
  // longer than kMaxName.
  absl::StatusOr<bool> FindIn(const std::string& name) const;
  absl::StatusOr<bool> MatchesStartOf(const std::string& name) const;

 private:
  struct Compiled;
  absl::StatusOr<bool> Search(const std::string& name, bool from_start) const;

  std::string text_;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace quantd
