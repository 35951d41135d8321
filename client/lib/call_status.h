// How a call ended, in words that say what to do.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace quantd::client {

// The same code and message; where gRPC's words for a failed connection have a likely reason that
// they do not name, it is added.
absl::Status StatusOf(const grpc::Status& status);

}  // namespace quantd::client
