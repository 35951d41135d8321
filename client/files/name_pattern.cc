#include "client/files/name_pattern.h"

#include <re2/re2.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

// Of one pattern's program and its match states; RE2 goes on with less speed when it is reached.
constexpr int64_t kMatcherBytes = 8 << 20;

}  // namespace

struct NamePattern::Compiled {
  explicit Compiled(const std::string& text) : regex(text, Options()) {}

  static RE2::Options Options() {
    RE2::Options options;
    options.set_log_errors(false);  // the status says it
    options.set_max_mem(kMatcherBytes);
    return options;
  }

  RE2 regex;
};

absl::StatusOr<NamePattern> NamePattern::Compile(const std::string& text) {
  if (text.empty() || text.size() > kMaxPattern) {
    return absl::InvalidArgumentError(absl::StrCat("regular expression of ", text.size(),
                                                   " characters, expected 1 to ", kMaxPattern));
  }
  auto compiled = std::make_shared<Compiled>(text);
  if (!compiled->regex.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("bad regular expression '", text, "': ", compiled->regex.error()));
  }
  NamePattern out;
  out.text_ = text;
  out.compiled_ = std::move(compiled);
  return out;
}

absl::StatusOr<bool> NamePattern::FindIn(const std::string& name) const {
  return Search(name, /*from_start=*/false);
}

absl::StatusOr<bool> NamePattern::MatchesStartOf(const std::string& name) const {
  return Search(name, /*from_start=*/true);
}

absl::StatusOr<bool> NamePattern::Search(const std::string& name, bool from_start) const {
  if (name.size() > kMaxName) {
    return absl::InvalidArgumentError(
        absl::StrCat("name of ", name.size(), " characters is too long for regular expressions"));
  }
  return compiled_->regex.Match(name, 0, name.size(),
                                from_start ? RE2::ANCHOR_START : RE2::UNANCHORED, nullptr, 0);
}

}  // namespace quantd
