#include "workers/core/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace quantd {
namespace {

constexpr uint64_t kMapFrom = uint64_t{1} << 20;
constexpr uint64_t kPage = 4096;
constexpr size_t kAlignment = 64;

uint64_t RoundUp(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

// Freed mappings that wait for a buffer of their size.
class KeptMappings {
 public:
  // A mapping of at least `bytes`, at most an eighth larger, its true size in *mapped. Without a
  // match all that is kept goes back to the kernel and the answer is null.
  void* Take(uint64_t bytes, uint64_t* mapped) {
    std::vector<Mapping> dropped;
    {
      absl::MutexLock lock(&mutex_);
      if (void* data = MatchLocked(bytes, mapped)) return data;
      dropped.swap(kept_);
      total_ = 0;
    }
    for (const Mapping& m : dropped) munmap(m.data, m.bytes);  // slow: not under the lock
    return nullptr;
  }

  // False when there is no room: the caller unmaps.
  bool Keep(void* data, uint64_t bytes) {
    absl::MutexLock lock(&mutex_);
    if (bytes > Buffer::kKeptBytes - total_) return false;
    kept_.push_back({data, bytes});
    total_ += bytes;
    return true;
  }

 private:
  struct Mapping {
    void* data;
    uint64_t bytes;
  };

  void* MatchLocked(uint64_t bytes, uint64_t* mapped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (size_t i = 0; i < kept_.size(); ++i) {
      if (kept_[i].bytes < bytes || kept_[i].bytes > bytes + bytes / 8) continue;
      void* data = kept_[i].data;
      *mapped = kept_[i].bytes;
      total_ -= kept_[i].bytes;
      kept_.erase(kept_.begin() + static_cast<int64_t>(i));
      return data;
    }
    return nullptr;
  }

  absl::Mutex mutex_;
  std::vector<Mapping> kept_ ABSL_GUARDED_BY(mutex_);
  uint64_t total_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Never destroyed: buffers may die after main.
KeptMappings& Kept() {
  static KeptMappings& kept = *new KeptMappings;
  return kept;
}

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
    if (!Kept().Keep(data_, mapped_)) munmap(data_, mapped_);
  } else {
    std::free(data_);
  }
  data_ = nullptr;
}

absl::StatusOr<Buffer> Buffer::Allocate(uint64_t bytes) { return Make(bytes, true); }

absl::StatusOr<Buffer> Buffer::AllocateUnfilled(uint64_t bytes) { return Make(bytes, false); }

absl::StatusOr<Buffer> Buffer::Make(uint64_t bytes, bool zeroed) {
  Buffer b;
  b.size_ = bytes;
  if (bytes >= kMapFrom) {
    if (bytes > (uint64_t{1} << 62)) return OutOfMemory(bytes);
    const uint64_t wanted = RoundUp(bytes, kPage);
    void* p = Kept().Take(wanted, &b.mapped_);
    if (p != nullptr) {
      if (zeroed) std::memset(p, 0, bytes);
    } else {
      p = mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (p == MAP_FAILED) return OutOfMemory(bytes);
      madvise(p, wanted, MADV_HUGEPAGE);
      b.mapped_ = wanted;
    }
    b.data_ = static_cast<std::byte*>(p);
  } else {
    const uint64_t room = RoundUp(bytes == 0 ? 1 : bytes, kAlignment);
    b.data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, room));
    if (b.data_ == nullptr) return OutOfMemory(bytes);
    if (zeroed) std::memset(b.data_, 0, room);
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
