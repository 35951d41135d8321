// SIGTERM and SIGINT as something a thread waits for.
#pragma once

#include "absl/time/time.h"

namespace quantd {

// Call first thing in main, from the thread that will wait: threads made later inherit the mask, so
// that only the waiting thread sees the signals. A thread that is older than main (OpenBLAS starts
// its own while it is loaded) passes a signal on to the caller of this function. Also ignores
// SIGPIPE: a peer that goes away is an error code, not the end.
void BlockShutdownSignals();

class SignalSource {
 public:
  virtual ~SignalSource() = default;
  // Waits for SIGTERM or SIGINT, at most `timeout`. Returns its number, or 0.
  virtual int Wait(absl::Duration timeout) = 0;
};

// The process's own signals; requires BlockShutdownSignals() on the same thread.
class ProcessSignals : public SignalSource {
 public:
  int Wait(absl::Duration timeout) override;
};

}  // namespace quantd
