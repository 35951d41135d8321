// All live sessions: their clock, their count, their end.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/session/options.h"
#include "server/session/session.h"

namespace quantd {

// Thread-safe. Outlives its sessions: destroy it after live() is 0, and the pools after that.
class SessionRegistry {
 public:
  SessionRegistry(SessionDeps deps, const SessionOptions& options);
  ~SessionRegistry();
  SessionRegistry(const SessionRegistry&) = delete;
  SessionRegistry& operator=(const SessionRegistry&) = delete;

  // A session for a new stream. It stays in the registry until it has finished and given its memory
  // back, whoever else lets go of it.
  std::shared_ptr<Session> Create(CallInfo info, SessionCallbacks callbacks);

  // Timeouts and progress of the queue and of every session, and how they stand for the EventSink;
  // call about every 250 ms.
  void Tick();

  // Sessions not yet closed.
  int64_t live() const;

  // Refuses new jobs and fails queued ones with UNAVAILABLE; admitted ones go on.
  void BeginDrain() const;
  // Ends every session with UNAVAILABLE, pushback 0.
  void StopAll();
  // Blocks until no session lives or the wall clock passes `deadline`; true when none lives.
  bool WaitUntilEmpty(absl::Time deadline) const;
  // BeginDrain, then waits until `deadline`; what lives then is stopped and given `grace` to
  // return. True when nothing had to be stopped. Keep calling Tick() meanwhile.
  bool DrainAndWait(absl::Time deadline, absl::Duration grace = absl::Seconds(2));

 private:
  std::vector<std::shared_ptr<Session>> Snapshot() const;

  const SessionDeps deps_;
  const SessionOptions options_;
  mutable absl::Mutex mutex_;
  std::unordered_map<Session*, std::shared_ptr<Session>> sessions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantd
