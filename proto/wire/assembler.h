// Chunks -> bytes in place, with every lie caught: the only reader of chunk fields from outside.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "proto/wire/frames.h"
#include "workers/core/tensor.h"

namespace quantd::wire {

// Checks each chunk against the declarations and hands its bytes to the sink. Not thread-safe.
//
// Guarantees to the sink: index in range; per tensor in order, without gaps or overlaps, within the
// declared size. Empty tensors get no Write.
class Assembler {
 public:
  // `decls` must outlive the assembler, their sizes already checked with CheckedBytes.
  Assembler(const std::vector<TensorDecl>* decls, TensorSink* sink);

  // INVALID_ARGUMENT: unknown tensor, empty chunk, offset not where the tensor stands.
  // OUT_OF_RANGE: more bytes than declared. DATA_LOSS: CRC mismatch. Or the sink's error.
  // Every message names tensor, field and value. After an error the assembler must not be used.
  absl::Status Add(const ChunkFrame& chunk);

  // Call at End. INVALID_ARGUMENT naming the first tensor with missing bytes; DATA_LOSS when a
  // declared digest does not match.
  absl::Status Finish();

  uint64_t received_bytes() const { return received_; }
  uint64_t expected_bytes() const { return expected_; }
  // Digest of each tensor's bytes; valid after a successful Finish().
  const std::vector<Digest>& digests() const { return digests_; }

 private:
  const std::vector<TensorDecl>* decls_;
  TensorSink* sink_;
  std::vector<uint64_t> sizes_;
  std::vector<uint64_t> next_;
  std::vector<DigestStream> streams_;
  std::vector<Digest> digests_;
  uint64_t received_ = 0;
  uint64_t expected_ = 0;
};

}  // namespace quantd::wire
