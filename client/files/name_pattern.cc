#include "client/files/name_pattern.h"

#include <regex>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace quantd {

struct NamePattern::Compiled {
  std::regex regex;
};

absl::StatusOr<NamePattern> NamePattern::Compile(const std::string& text) {
  if (text.empty() || text.size() > kMaxPattern) {
    return absl::InvalidArgumentError(absl::StrCat("regular expression of ", text.size(),
                                                   " characters, expected 1 to ", kMaxPattern));
  }
  try {
    NamePattern out;
    out.text_ = text;
    out.compiled_ = std::make_shared<Compiled>(Compiled{std::regex(text)});
    return out;
  } catch (const std::regex_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("bad regular expression '", text, "': ", error.what()));
  }
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
  try {
    return std::regex_search(
        name, compiled_->regex,
        from_start ? std::regex_constants::match_continuous : std::regex_constants::match_default);
  } catch (const std::regex_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("regular expression '", text_, "' on '", name, "': ", error.what()));
  }
}

}  // namespace quantd
