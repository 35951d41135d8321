// Owned bytes for tensors.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace quantd {

// 64-byte aligned, movable, not copyable.
//
// From 1 MiB on the bytes are a mapping of their own with huge pages advised (first touch runs
// about three times faster than on 4 KiB pages). A freed mapping is kept for the next buffer of
// about its size, because clearing fresh pages costs more than all the arithmetic of a
// round-to-nearest job. At most kKeptBytes are kept, and the first buffer that finds no match gives
// them all back to the kernel; what is not kept goes back at once. So the process's resident size
// follows the byte ledger to within kKeptBytes.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  // Bound on freed mappings that wait for reuse, in the whole process. Budgets leave room for it.
  static constexpr uint64_t kKeptBytes = uint64_t{256} << 20;

  // RESOURCE_EXHAUSTED, naming the size, when the system has no memory.
  static absl::StatusOr<Buffer> Allocate(uint64_t bytes);

  // The same with unspecified contents: for bytes that are all overwritten.
  static absl::StatusOr<Buffer> AllocateUnfilled(uint64_t bytes);

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }

  // Views as an array of T; size() must be a multiple of sizeof(T).
  template <typename T>
  absl::Span<T> As() {
    return {reinterpret_cast<T*>(data_), static_cast<size_t>(size_ / sizeof(T))};
  }
  template <typename T>
  absl::Span<const T> As() const {
    return {reinterpret_cast<const T*>(data_), static_cast<size_t>(size_ / sizeof(T))};
  }

  // Gives the tail beyond `bytes` (<= size()) back to the system; the head stays where it is.
  void ShrinkTo(uint64_t bytes);

 private:
  static absl::StatusOr<Buffer> Make(uint64_t bytes, bool zeroed);
  void Free();

  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  uint64_t mapped_ = 0;  // 0: from the heap
};

}  // namespace quantd
