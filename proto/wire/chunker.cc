#include "proto/wire/chunker.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace quantd::wire {
namespace {

// The library counts bytes in an int.
constexpr size_t kCrcPiece = size_t{1} << 30;

}  // namespace

uint32_t Crc32c(absl::Span<const std::byte> bytes) {
  // The library runs the bare polynomial division: both inversions are the caller's.
  uint32_t crc = 0xFFFFFFFFu;
  while (!bytes.empty()) {
    const absl::Span<const std::byte> piece = bytes.subspan(0, kCrcPiece);
    // It reads only; its parameter merely lacks the const.
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(piece.data()));
    crc = crc32_iscsi(data, static_cast<int>(piece.size()), crc);
    bytes.remove_prefix(piece.size());
  }
  return ~crc;
}

Chunker::Chunker(uint32_t tensor, absl::Span<const std::byte> bytes, uint64_t chunk_bytes)
    : tensor_(tensor), bytes_(bytes), chunk_bytes_(std::max<uint64_t>(chunk_bytes, 1)) {}

std::optional<ChunkFrame> Chunker::Next() {
  if (offset_ == bytes_.size()) return std::nullopt;
  const absl::Span<const std::byte> piece = bytes_.subspan(offset_, chunk_bytes_);
  std::optional<ChunkFrame> chunk(std::in_place);
  chunk->tensor = tensor_;
  chunk->offset = offset_;
  chunk->data.assign(reinterpret_cast<const char*>(piece.data()), piece.size());
  chunk->crc32c = Crc32c(piece);
  offset_ += piece.size();
  return chunk;
}

}  // namespace quantd::wire
