#include "client/telemetry/run_endpoint.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/telemetry/metrics_endpoint.h"
#include "workers/core/status_macros.h"

namespace quantd::client {
namespace {

// The part before ":PORT"; empty for what is no HOST:PORT or [IPV6]:PORT.
absl::string_view HostOf(absl::string_view listen) {
  const size_t colon = listen.rfind(':');
  if (colon == absl::string_view::npos) return "";
  const absl::string_view host = listen.substr(0, colon);
  const bool bracketed = absl::StartsWith(host, "[") && absl::EndsWith(host, "]");
  if (!bracketed && host.find_first_of(":, ") != absl::string_view::npos) return "";
  int port = 0;
  const bool valid =
      absl::SimpleAtoi(listen.substr(colon + 1), &port) && port >= 0 && port <= 65535;
  return valid ? host : "";
}

class HttpEndpoint : public RunEndpoint {
 public:
  HttpEndpoint(absl::string_view host, std::unique_ptr<MetricsEndpoint> endpoint)
      : host_(host), endpoint_(std::move(endpoint)) {}

  std::string url() const override {
    return absl::StrCat("http://", host_, ":", endpoint_->port(), "/metrics");
  }

 private:
  const std::string host_;
  const std::unique_ptr<MetricsEndpoint> endpoint_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RunEndpoint>> StartRunEndpoint(const std::string& listen,
                                                              std::shared_ptr<RunMetrics> metrics) {
  const absl::string_view host = HostOf(listen);
  if (host.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", listen, "\" is not HOST:PORT with a port in 0..65535 or [IPV6]:PORT"));
  }
  QUANTD_ASSIGN_OR_RETURN(std::unique_ptr<MetricsEndpoint> endpoint,
                          StartMetricsEndpoint(listen, std::move(metrics)));
  return std::make_unique<HttpEndpoint>(host, std::move(endpoint));
}

}  // namespace quantd::client
