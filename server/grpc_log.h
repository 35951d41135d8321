// gRPC's own messages in the server's log.
#pragma once

#include <memory>

#include "server/telemetry/json_log.h"

namespace quantd {

// Routes them to `log`; null drops them. Process-wide, thread-safe.
void RouteGrpcLog(std::shared_ptr<JsonLog> log);

}  // namespace quantd
