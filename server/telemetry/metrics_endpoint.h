// GET /metrics on a port of its own; every other path answers 404.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "prometheus/collectable.h"

namespace quantd {

class MetricsEndpoint {
 public:
  virtual ~MetricsEndpoint() = default;
  virtual int port() const = 0;  // the bound one
};

// `listen` is HOST:PORT; port 0 takes a free one. UNAVAILABLE, naming the address, when it cannot
// be bound. The endpoint shares ownership of `collectable`.
absl::StatusOr<std::unique_ptr<MetricsEndpoint>> StartMetricsEndpoint(
    const std::string& listen, std::shared_ptr<prometheus::Collectable> collectable);

}  // namespace quantd
