#include "workers/core/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace quantd {
namespace {

constexpr uint64_t kMapFrom = uint64_t{1} << 20;
constexpr uint64_t kPage = 4096;
constexpr size_t kAlignment = 64;

uint64_t RoundUp(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

absl::Status OutOfMemory(uint64_t bytes) {
  return absl::ResourceExhaustedError(absl::StrCat("no memory for a buffer of ", bytes, " bytes"));
}

}  // namespace

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    Free();
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    mapped_ = std::exchange(other.mapped_, 0);
  }
  return *this;
}

Buffer::~Buffer() { Free(); }

void Buffer::Free() {
  if (mapped_ != 0) {
    munmap(data_, mapped_);
  } else {
    std::free(data_);
  }
  data_ = nullptr;
}

absl::StatusOr<Buffer> Buffer::Allocate(uint64_t bytes) {
  Buffer b;
  b.size_ = bytes;
  if (bytes >= kMapFrom) {
    if (bytes > (uint64_t{1} << 62)) return OutOfMemory(bytes);
    const uint64_t mapped = RoundUp(bytes, kPage);
    void* p = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return OutOfMemory(bytes);
    madvise(p, mapped, MADV_HUGEPAGE);
    b.data_ = static_cast<std::byte*>(p);
    b.mapped_ = mapped;
  } else {
    const uint64_t room = RoundUp(bytes == 0 ? 1 : bytes, kAlignment);
    b.data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, room));
    if (b.data_ == nullptr) return OutOfMemory(bytes);
    std::memset(b.data_, 0, room);
  }
  return b;
}

void Buffer::ShrinkTo(uint64_t bytes) {
  if (bytes >= size_) return;
  if (mapped_ != 0) {
    const uint64_t keep = RoundUp(bytes == 0 ? 1 : bytes, kPage);
    if (keep < mapped_) {
      munmap(data_ + keep, mapped_ - keep);
      mapped_ = keep;
    }
  }
  size_ = bytes;
}

}  // namespace quantd
