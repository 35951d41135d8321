// GET /metrics on a port of its own, and pages beside it; every other path answers 404.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "prometheus/collectable.h"

namespace quantd {

struct WebPage {
  std::string content_type;
  std::string body;
};

// The page at a path ("/", "/status.json"), or nothing. Called from any thread, several at once.
using WebPages = std::function<std::optional<WebPage>(const std::string& path)>;

class MetricsEndpoint {
 public:
  virtual ~MetricsEndpoint() = default;
  virtual int port() const = 0;  // the bound one
};

// `listen` is HOST:PORT; port 0 takes a free one. UNAVAILABLE, naming the address, when it cannot
// be bound. The endpoint shares ownership of `collectable`; `pages` may be empty. Answers GET and
// HEAD, one request a connection; browsers are told to load nothing from elsewhere.
absl::StatusOr<std::unique_ptr<MetricsEndpoint>> StartMetricsEndpoint(
    const std::string& listen, std::shared_ptr<prometheus::Collectable> collectable,
    WebPages pages = nullptr);

}  // namespace quantd
