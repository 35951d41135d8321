// Who may have memory now, who waits, who must come back later.
//
// A job is admitted when its predicted peak fits the byte budget beside the jobs that hold theirs.
// Else it waits in a queue that is bounded by jobs and by bytes: by priority, first come first
// served among equals. The head of the queue blocks those behind it, so that a large job is not
// starved by a stream of small ones.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "workers/core/clock.h"
#include "workers/core/events.h"
#include "workers/pool/ledger.h"

namespace quantd {

class Admission {
 public:
  struct Options {
    uint64_t budget_bytes = 0;
    int64_t max_queued_jobs = 64;
    uint64_t max_queued_bytes =
        0;  // sum of the predicted peaks of waiting jobs; 0: 4 x budget_bytes
    absl::Duration max_queue_wait = absl::Minutes(10);
    const Clock* clock = nullptr;  // required; outlives the object, as does `events`
    EventSink* events = nullptr;   // required
  };

  struct Request {
    uint64_t peak_bytes = 0;  // predicted
    double seconds = 0;  // predicted, of work; feeds the come-back time until real ones are known
    int priority = 0;    // higher first
    std::string method;  // for OnReject
  };

  // A share of the budget. Giving it back (destruction or Release) lets waiting jobs in: their
  // callbacks run in the thread that gives back, so never give back under a lock that a callback
  // may want.
  class Grant {
   public:
    Grant() = default;
    Grant(Grant&& o) noexcept
        : admission_(std::exchange(o.admission_, nullptr)),
          reservation_(std::move(o.reservation_)),
          since_(o.since_) {}
    Grant& operator=(Grant&& o) noexcept;
    ~Grant() { Release(); }
    void Release();
    bool held() const { return admission_ != nullptr; }
    uint64_t bytes() const { return reservation_.bytes(); }

   private:
    friend class Admission;
    Grant(Admission* admission, ByteLedger::Reservation reservation, absl::Time since)
        : admission_(admission), reservation_(std::move(reservation)), since_(since) {}
    Admission* admission_ = nullptr;
    ByteLedger::Reservation reservation_;
    absl::Time since_;
  };

  struct Queued {
    uint64_t ticket = 0;   // for Cancel
    int64_t position = 0;  // 1: next
  };

  struct Rejection {
    RejectReason reason = RejectReason::kInvalid;
    absl::Status status;      // RESOURCE_EXHAUSTED, or UNAVAILABLE while draining
    int64_t pushback_ms = 0;  // negative: never come back with this job; 0: go elsewhere now
  };

  using Decision = std::variant<Grant, Queued, Rejection>;
  // The later answer to a queued job: a held Grant or a Rejection.
  using Callback = std::function<void(std::variant<Grant, Rejection>)>;

  explicit Admission(const Options& options);
  ~Admission();  // no grant may be held any more; callbacks of waiting jobs are dropped
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // `later` is kept only when the answer is Queued, and then called once, from any thread, perhaps
  // before Submit returns, never under the lock; or never, when Cancel() says true. Rejections, the
  // later ones too, are told to the EventSink.
  Decision Submit(const Request& request, Callback later);

  // True: the job was waiting, does not any more, and its callback will not be called. False: its
  // callback was or is being called.
  bool Cancel(uint64_t ticket);

  // From now on refuses new jobs; fails the waiting ones with UNAVAILABLE.
  void Drain();
  bool draining() const;

  // Fails those who waited longer than max_queue_wait.
  void Tick();

  // True when a job of this predicted peak could ever be admitted.
  bool EverFits(uint64_t peak_bytes) const { return peak_bytes <= ledger_.budget(); }

  uint64_t budget_bytes() const { return ledger_.budget(); }
  uint64_t reserved_bytes() const { return ledger_.reserved(); }
  int64_t waiting_jobs() const;
  uint64_t waiting_bytes() const;

 private:
  struct Waiting {
    uint64_t ticket = 0;
    Request request;
    Callback later;
    absl::Time since;
  };
  using Queue = std::list<Waiting>;
  struct Answer {
    Callback later;
    std::variant<Grant, Rejection> what;
    std::string method;
  };
  using Answers = std::list<Answer>;

  Decision Decide(const Request& request, Callback* later) ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets the head in while it fits.
  void Pump(Answers* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(Queue::iterator waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBack(ByteLedger::Reservation reservation, absl::Time since);
  // The bound that one more waiting job would break, if any.
  std::optional<Rejection> RejectFull(const Request& request) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t PushbackMs() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Rejection Draining() const;
  void Deliver(Answers answers) const ABSL_LOCKS_EXCLUDED(mutex_);
  void SendGauges() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  ByteLedger ledger_;

  mutable absl::Mutex mutex_;
  Queue queue_ ABSL_GUARDED_BY(mutex_);  // highest priority first, then oldest
  uint64_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t next_ticket_ ABSL_GUARDED_BY(mutex_) = 1;
  double held_seconds_ ABSL_GUARDED_BY(mutex_) = 0;  // moving average; 0: nothing known yet
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  // Gauges are read and sent under their own lock, so that the last one sent is the newest.
  absl::Mutex gauge_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
};

}  // namespace quantd
