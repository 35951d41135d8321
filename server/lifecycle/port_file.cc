#include "server/lifecycle/port_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace quantd {

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content) {
  const std::string aside = absl::StrCat(path, ".", getpid(), ".tmp");
  const auto fail = [&](const char* step) {
    absl::Status status =
        absl::UnavailableError(absl::StrCat("cannot ", step, " ", aside, ": ", strerror(errno)));
    unlink(aside.c_str());
    return status;
  };
  std::FILE* file = std::fopen(aside.c_str(), "we");
  if (file == nullptr) return fail("create");
  const bool written = std::fwrite(content.data(), 1, content.size(), file) == content.size();
  if (std::fclose(file) != 0 || !written) return fail("write");
  if (std::rename(aside.c_str(), path.c_str()) != 0) return fail("rename");
  return absl::OkStatus();
}

}  // namespace quantd
