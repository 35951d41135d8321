// Tells whoever started the server which ports it got.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quantd {

// Replaces `path` with `content` in one step: a reader sees the old file or the whole new one.
// UNAVAILABLE naming the path and the system's reason.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content);

}  // namespace quantd
