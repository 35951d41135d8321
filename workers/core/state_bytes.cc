#include "workers/core/state_bytes.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace quantd {

absl::Status StateReader::Short() {
  return absl::InvalidArgumentError("the saved state has not the sizes of this solve");
}

absl::Status StateReader::Copy(void* to, uint64_t bytes) {
  if (bytes > left_.size()) return Short();
  if (bytes > 0) std::memcpy(to, left_.data(), bytes);
  left_.remove_prefix(bytes);
  return absl::OkStatus();
}

absl::Status StateReader::End() const {
  if (left_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the saved state has ", left_.size(), " bytes too many"));
}

}  // namespace quantd
