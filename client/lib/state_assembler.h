// Pieces of job states -> whole states.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/wire/frames.h"

namespace quantd::client {

// Not thread-safe.
class StateAssembler {
 public:
  // The whole state with its last piece, else nothing. A piece with offset 0 begins anew, whatever
  // came before. DATA_LOSS: the CRC does not hold. INTERNAL: an empty piece, one that does not
  // follow the last, or one that passes the state's size. After an error nothing may be added.
  absl::StatusOr<std::optional<std::string>> Add(wire::JobStateFrame piece);

 private:
  uint64_t total_ = 0;
  std::string bytes_;
};

}  // namespace quantd::client
