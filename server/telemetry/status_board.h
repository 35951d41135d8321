// What the status page shows: the queue, live jobs, throughput and errors, recent outcomes.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "nlohmann/json_fwd.hpp"
#include "server/telemetry/history.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/metrics_endpoint.h"
#include "workers/core/clock.h"
#include "workers/core/events.h"

namespace quantd {

// Thread-safe; memory is bounded: the last kRecent jobs, half an hour of sums.
class StatusBoard : public EventSink {
 public:
  static constexpr size_t kRecent = 50;
  static constexpr size_t kShownLive = 200;  // of the live jobs, oldest first

  // `clock` outlives the board.
  StatusBoard(const ServerFacts& facts, const Clock* clock);

  void OnReject(RejectReason reason, const std::string& method) override;
  void OnJobDone(const JobEvent& event) override;
  void OnQueue(int64_t waiting_jobs, uint64_t waiting_bytes) override;
  void OnBudget(uint64_t reserved_bytes, uint64_t budget_bytes) override;
  void OnPool(int busy_threads, int threads) override;
  void OnLive(const std::vector<LiveJob>& jobs) override;
  void OnDrain() override;
  void OnCertificate(absl::Time not_after) override;

  // "/" is the page, "/status.json" what it draws.
  std::optional<WebPage> Page(const std::string& path) const;
  nlohmann::json Status() const;

 private:
  struct Ended {
    absl::Time at;
    std::string job_id, weights, rpc, method, outcome, reason;
    uint64_t elements = 0;
    double seconds = 0;           // since the header
    std::optional<double> error;  // relative output error, else weight error, of the worst weight
    std::optional<double> bits;   // all-in, mean over the weights
  };
  static Ended EndOf(const JobEvent& event, absl::Time now);
  static nlohmann::json LiveJson(const LiveJob& job);
  static nlohmann::json EndedJson(const Ended& ended);
  static nlohmann::json HistoryJson(const History& history, absl::Time now);

  // What the page draws, copied whole so that it is written out without the lock: events come from
  // threads that work.
  struct State {
    bool draining = false;
    int busy_threads = 0;
    int threads = 0;
    int64_t waiting_jobs = 0;
    uint64_t waiting_bytes = 0;
    uint64_t reserved_bytes = 0;
    uint64_t budget_bytes = 0;
    std::optional<absl::Time> certificate_end;
    std::vector<LiveJob> live;
    std::map<std::string, int64_t> outcomes;
    std::map<std::string, int64_t> rejects;
    uint64_t weights = 0;
    std::deque<Ended> recent;  // newest first
    History history;
  };

  const ServerFacts facts_;
  const Clock* const clock_;
  const absl::Time started_;
  mutable absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quantd
