// `quantd health`: asks a server's health service, for probes and container engines.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantd {

struct HealthQuery {
  std::string target = "127.0.0.1:50052";  // HOST:PORT, plain text
  std::string service = "quantd.v1.QuantizationService";
  absl::Duration timeout = absl::Seconds(2);
};

// OK when the server answers SERVING. Else UNAVAILABLE, naming the target and what it said: another
// state, that it does not know the service, or nothing within the timeout, where a port that is not
// open is a likely reason.
absl::Status AskHealth(const HealthQuery& query);

}  // namespace quantd
