#include "client/files/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/files/journal.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

namespace fs = std::filesystem;

absl::Status WriteAside(const std::string& path, const std::string& aside,
                        const std::function<absl::Status(int fd)>& fill) {
  const int fd = open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return FileError(errno, absl::StrCat("cannot create ", aside));
  absl::Status status = fill(fd);
  if (status.ok() && fsync(fd) != 0) status = FileError(errno, absl::StrCat("cannot sync ", aside));
  close(fd);
  if (status.ok() && rename(aside.c_str(), path.c_str()) != 0) {
    status = FileError(errno, absl::StrCat("cannot rename ", aside));
  }
  if (!status.ok()) unlink(aside.c_str());
  return status;
}

bool IsDenseWeights(absl::string_view name) {
  for (absl::string_view suffix :
       {".safetensors", ".safetensors.index.json", ".bin.index.json", ".h5", ".msgpack", ".ot",
        ".pth", ".pt", ".ckpt", ".gguf", ".onnx"}) {
    if (absl::EndsWith(name, suffix)) return true;
  }
  return absl::EndsWith(name, ".bin") &&
         (absl::StartsWith(name, "pytorch_model") || absl::StartsWith(name, "model"));
}

bool StaysBehind(absl::string_view name, bool top_level) {
  if (absl::StartsWith(name, ".")) return true;
  if (!top_level) return false;
  // What an interrupted run left in the source must not land on the files of this one.
  if (absl::EndsWith(name, kPartialSuffix) || name == kJournalName) return true;
  return name == "config.json" || name == "quantize_config.json" || IsDenseWeights(name);
}

absl::Status CopyFolder(const fs::path& from, const fs::path& to, bool top_level) {
  std::error_code error;
  std::vector<fs::directory_entry> entries;
  for (fs::directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    if (!StaysBehind(it->path().filename().string(), top_level)) entries.push_back(*it);
  }
  if (error) return FileError(error.value(), absl::StrCat("cannot list ", from.string()));
  std::sort(entries.begin(), entries.end());
  for (const fs::directory_entry& entry : entries) {
    const fs::path target = to / entry.path().filename();
    if (entry.is_directory(error) && !entry.is_symlink(error)) {
      fs::create_directory(target, error);
      if (error) return FileError(error.value(), absl::StrCat("cannot create ", target.string()));
      QUANTD_RETURN_IF_ERROR(CopyFolder(entry.path(), target, false));
      QUANTD_RETURN_IF_ERROR(SyncFolder(target.string()));
    } else if (entry.is_regular_file(error)) {
      QUANTD_RETURN_IF_ERROR(CopyDurably(entry.path().string(), target.string()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FileError(int error, absl::string_view what) {
  const absl::Status status = absl::ErrnoToStatus(error, what);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return absl::ResourceExhaustedError(status.message());
  }
  return status;
}

absl::Status WriteFully(int fd, uint64_t offset, absl::Span<const std::byte> bytes,
                        absl::string_view path) {
  while (!bytes.empty()) {
    const ssize_t put = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      return FileError(put < 0 ? errno : ENOSPC,
                       absl::StrCat("cannot write ", bytes.size(), " bytes to ", path));
    }
    bytes.remove_prefix(put);
    offset += put;
  }
  return absl::OkStatus();
}

absl::Status WriteDurably(const std::string& path, absl::string_view text) {
  const std::string aside = absl::StrCat(path, kPartialSuffix);
  return WriteAside(path, aside, [&](int fd) {
    return WriteFully(fd, 0, {reinterpret_cast<const std::byte*>(text.data()), text.size()}, aside);
  });
}

absl::Status CopyDurably(const std::string& from, const std::string& to) {
  const int in = open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (in < 0) return FileError(errno, absl::StrCat("cannot open ", from));
  const absl::Cleanup closer = [in] { close(in); };
  const std::string aside = absl::StrCat(to, kPartialSuffix);
  return WriteAside(to, aside, [&](int fd) -> absl::Status {
    std::vector<std::byte> buffer(1 << 20);
    uint64_t at = 0;
    for (;;) {
      const ssize_t got = read(in, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return FileError(errno, absl::StrCat("cannot read ", from));
      if (got == 0) return absl::OkStatus();
      QUANTD_RETURN_IF_ERROR(
          WriteFully(fd, at, absl::MakeConstSpan(buffer.data(), static_cast<size_t>(got)), aside));
      at += got;
    }
  });
}

absl::Status SyncFolder(const std::string& dir) {
  const int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, absl::StrCat("cannot open ", dir));
  const absl::Cleanup closer = [fd] { close(fd); };
  if (fsync(fd) != 0 && errno != EINVAL) {
    return FileError(errno, absl::StrCat("cannot sync ", dir));
  }
  return absl::OkStatus();
}

absl::Status CopyCompanions(const std::string& from, const std::string& to) {
  return CopyFolder(from, to, /*top_level=*/true);
}

}  // namespace quantd
