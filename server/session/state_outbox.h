// The newest state of a job on its way to the client, piece by piece.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/wire/frames.h"

namespace quantd {

// Holds at most two states: the one being sent, which is always sent to its end so that a slow
// client gets a whole one now and then, and the newest one behind it. Pieces are cut when they are
// asked for. Not thread-safe; what callers are to free without a lock is handed out.
class StateOutbox {
 public:
  explicit StateOutbox(uint64_t chunk_bytes) : chunk_bytes_(chunk_bytes) {}

  // A newer state, not empty. Returns the one that waited and is void now, or "".
  std::string Put(std::string state);

  // Nothing to send.
  bool empty() const { return sending_.empty() && waiting_.empty(); }
  // The first piece of a state is out and the last is not.
  bool midway() const { return !sending_.empty(); }

  // The next piece, with its CRC. `*spent` gets the whole state after its last piece.
  std::optional<wire::JobStateFrame> Next(std::string* spent);

  // Forgets everything and hands it out.
  std::vector<std::string> Take();

 private:
  uint64_t chunk_bytes_;
  std::string waiting_;
  std::string sending_;
  uint64_t offset_ = 0;  // of the next piece of sending_
};

}  // namespace quantd
