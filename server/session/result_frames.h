// A finished job as the sequence of frames that delivers it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "proto/wire/chunker.h"
#include "proto/wire/frames.h"
#include "workers/engine/engine.h"

namespace quantd {

// Per weight: (tensor, chunk*)*, its report if there is one; reports of candidates; then final. A
// tensor's bytes are freed once its last chunk was cut. Not thread-safe.
class ResultFrames {
 public:
  // `role` of the delivered tensors: kPacked, or kWeight for Dequantize. chunk_bytes >= 1.
  ResultFrames(JobResult result, Role role, std::string build_id, uint64_t chunk_bytes);

  // The next frame, a chunk with its bytes copied and its CRC taken; nothing after the final frame.
  std::optional<wire::ResponseFrame> Next();

 private:
  std::optional<wire::ResponseFrame> NextOfTensors();

  JobResult result_;
  Role role_;
  std::string build_id_;
  uint64_t chunk_bytes_;
  size_t output_ = 0;     // next output to announce
  size_t report_ = 0;     // next report to send
  size_t candidate_ = 0;  // next report of a candidate to send
  std::optional<wire::Chunker> chunker_;
  bool final_sent_ = false;
};

}  // namespace quantd
