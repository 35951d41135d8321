// Where a run's metrics are to be had.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/telemetry/run_metrics.h"

namespace quantd::client {

// Serves GET /metrics as long as it lives.
class RunEndpoint {
 public:
  virtual ~RunEndpoint() = default;
  virtual std::string url() const = 0;  // "http://127.0.0.1:9465/metrics", with the bound port
};

// `listen` is HOST:PORT; port 0 takes a free one. INVALID_ARGUMENT when it is not, UNAVAILABLE when
// it cannot be bound; both name it. The endpoint shares ownership of `metrics`.
absl::StatusOr<std::unique_ptr<RunEndpoint>> StartRunEndpoint(const std::string& listen,
                                                              std::shared_ptr<RunMetrics> metrics);

}  // namespace quantd::client
