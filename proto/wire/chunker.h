// Bytes of a tensor -> chunks.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "proto/wire/frames.h"

namespace quantd::wire {

// CRC-32C (Castagnoli polynomial, reflected, initial and final value all ones), as in iSCSI.
// "123456789" gives 0xE3069283.
uint32_t Crc32c(absl::Span<const std::byte> bytes);

// Cuts one tensor into chunks, in order. The bytes must outlive the chunker.
class Chunker {
 public:
  // chunk_bytes >= 1. An empty tensor gives no chunk.
  Chunker(uint32_t tensor, absl::Span<const std::byte> bytes, uint64_t chunk_bytes = kChunkBytes);

  // The next chunk with its CRC, or nullopt after the last.
  std::optional<ChunkFrame> Next();

 private:
  uint32_t tensor_;
  absl::Span<const std::byte> bytes_;
  uint64_t chunk_bytes_;
  uint64_t offset_ = 0;
};

}  // namespace quantd::wire
