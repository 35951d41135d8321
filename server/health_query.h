// What the health services know, and `quantd health`, which asks one: for probes and container
// engines.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace quantd {

// What health checks ask for, beside "": ready for jobs.
inline constexpr char kServiceName[] = "quantd.v1.QuantizationService";
// On the health port alone: the process answers. Serves while the server drains, too, so that
// nobody restarts a process that finishes its jobs.
inline constexpr char kLivenessName[] = "liveness";

struct HealthQuery {
  std::string target = "127.0.0.1:50052";  // HOST:PORT, plain text
  std::string service = kServiceName;
  absl::Duration timeout = absl::Seconds(2);
};

// OK when the server answers SERVING. Else UNAVAILABLE, naming the target and what it said: another
// state, that it does not know the service, or nothing within the timeout, where a port that is not
// open is a likely reason.
absl::Status AskHealth(const HealthQuery& query);

}  // namespace quantd
