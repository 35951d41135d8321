// A safetensors file as a read-only mapping whose tensors are views.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/files/safetensors_header.h"

namespace quantd {

// A mapped file. Movable; views stay valid while the object that holds the mapping lives. All const
// calls are thread-safe. The file must not be truncated by others while it is mapped.
class SafetensorsFile {
 public:
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;
  ~SafetensorsFile();

  // NOT_FOUND / PERMISSION_DENIED / INVALID_ARGUMENT naming the file.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // of the whole file, bytes
  absl::Span<const StoredTensor> tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  // nullptr when there is no tensor of that name.
  const StoredTensor* Find(absl::string_view name) const;

  // The tensor's bytes; `tensor` is one of tensors(). No alignment is promised.
  absl::Span<const std::byte> Bytes(const StoredTensor& tensor) const;

  // Lets the kernel drop the resident pages of `tensor`. The bytes stay readable: they are read
  // from disk again on the next touch. Call it when done, so that resident memory follows what is
  // in use.
  void Release(const StoredTensor& tensor) const;

 private:
  SafetensorsFile() = default;

  std::string path_;
  const std::byte* map_ = nullptr;
  uint64_t size_ = 0;
  SafetensorsHeader header_;
  absl::flat_hash_map<std::string, size_t> by_name_;
};

}  // namespace quantd
