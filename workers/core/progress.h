// How long work tells where it is.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace quantd {

enum class Phase : uint8_t {
  kUnspecified = 0,
  kQueued = 1,
  kUploading = 2,
  kPreparing = 3,  // statistics and factor
  kSolving = 4,
  kSending = 5,
};

absl::string_view PhaseName(Phase phase);  // "queued", ...

// Called from worker threads, possibly often; implementations throttle.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  virtual void OnProgress(Phase phase, double fraction) = 0;  // fraction of the phase in [0, 1]
};

}  // namespace quantd
