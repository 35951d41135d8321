// The server's events as Prometheus metrics and log lines.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "prometheus/collectable.h"
#include "server/telemetry/json_log.h"
#include "workers/core/clock.h"
#include "workers/core/events.h"

namespace quantd {

// What does not change while the server runs.
struct ServerFacts {
  std::string version;
  std::string blas;
  std::string cpu;
  std::string revision;             // of the sources; "unknown" where the build was not told
  uint64_t memory_limit_bytes = 0;  // of the container or machine; 0: unknown
};

// Thread-safe; nothing here blocks beyond a short mutex. Labels come from closed sets, so that no
// client can make series grow: a method outside `methods` is counted as "unknown".
class Metrics : public EventSink {
 public:
  // `log` may be null: no job lines. `clock` outlives the object; null: the system's.
  Metrics(const ServerFacts& facts, const std::vector<std::string>& methods,
          std::shared_ptr<JsonLog> log, const Clock* clock = nullptr);
  ~Metrics() override;

  void OnReject(RejectReason reason, const std::string& method) override;
  void OnJobDone(const JobEvent& event) override;
  void OnQueue(int64_t waiting_jobs, uint64_t waiting_bytes) override;
  void OnBudget(uint64_t reserved_bytes, uint64_t budget_bytes) override;
  void OnPool(int busy_threads, int threads) override;
  void OnLive(const std::vector<LiveJob>& jobs) override;
  void OnDrain() override;
  void OnCertificate(absl::Time not_after) override;

  // What an endpoint serves. Lives as long as this object.
  std::shared_ptr<prometheus::Collectable> collectable() const;

 private:
  void Count(const JobEvent& event);

  struct Series;
  std::shared_ptr<Series> series_;
  std::shared_ptr<JsonLog> log_;
};

}  // namespace quantd
