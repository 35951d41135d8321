#include "client/files/safetensors_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"

namespace quantd {

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      map_(std::exchange(other.map_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      header_(std::move(other.header_)),
      by_name_(std::move(other.by_name_)) {}

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(map_, other.map_);
  std::swap(size_, other.size_);
  std::swap(header_, other.header_);
  std::swap(by_name_, other.by_name_);
  return *this;
}

SafetensorsFile::~SafetensorsFile() {
  if (map_ != nullptr) munmap(const_cast<std::byte*>(map_), size_);
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  const absl::Cleanup closer = [fd] { close(fd); };
  struct stat info {};
  if (fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file"));
  }
  SafetensorsFile file;
  file.path_ = path;
  file.size_ = info.st_size;
  if (file.size_ > 0) {
    void* const map = mmap(nullptr, file.size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot map ", path));
    }
    file.map_ = static_cast<const std::byte*>(map);
  }
  QUANTD_ASSIGN_OR_RETURN(file.header_, ParseSafetensors({file.map_, file.size_}, path));
  file.by_name_.reserve(file.header_.tensors.size());
  for (size_t i = 0; i < file.header_.tensors.size(); ++i) {
    file.by_name_[file.header_.tensors[i].name] = i;
  }
  return file;
}

const StoredTensor* SafetensorsFile::Find(absl::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &header_.tensors[it->second];
}

absl::Span<const std::byte> SafetensorsFile::Bytes(const StoredTensor& tensor) const {
  return {map_ + header_.data_begin + tensor.begin, static_cast<size_t>(tensor.size())};
}

void SafetensorsFile::Release(const StoredTensor& tensor) const {
  // Whole pages only: the first and last one may hold a neighbour that is in use.
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t begin = (header_.data_begin + tensor.begin + page - 1) / page * page;
  const uint64_t end = (header_.data_begin + tensor.end) / page * page;
  if (begin >= end) return;
  madvise(const_cast<std::byte*>(map_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace quantd
