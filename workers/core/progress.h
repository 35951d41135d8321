// How long work tells where it is.
#pragma once

#include <cstdint>
#include <string>

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
  // Solvers that go in rounds: tr(D H D^T) / tr(W H W^T) of weight `weight` after each.
  virtual void OnRound(int weight, int round, double relative_loss) {
    static_cast<void>(weight), static_cast<void>(round), static_cast<void>(relative_loss);
  }
};

// Where states of a job go that another replica can continue from.
class StateSink {
 public:
  virtual ~StateSink() = default;
  // True when the last state is old enough. Cheap; any thread.
  virtual bool Due() = 0;
  // The opaque state of the whole job, to be sent as a tensor of role CHECKPOINT with the same
  // request. A newer one replaces an older one that was not delivered yet.
  virtual void Save(std::string state) = 0;
};

}  // namespace quantd
