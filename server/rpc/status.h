// absl::Status -> what goes out on the wire.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace quantd {

// Same code; the message is cut so that it fits HTTP/2 metadata even when every byte is escaped (a
// message that does not fit would turn the whole status into an internal error).
grpc::Status ToGrpcStatus(const absl::Status& status);

// Trailing metadata: milliseconds after which a retry may succeed; negative: never retry.
inline constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";

}  // namespace quantd
