// Remote or embedded: the one place of the client that links the server.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/lib/channel.h"

namespace quantd::client {

// The embedded server when options.target is empty, ConnectRemote() otherwise.
absl::StatusOr<std::unique_ptr<Connection>> Connect(const ChannelOptions& options);

}  // namespace quantd::client
