#include "client/lib/connect.h"

#include <utility>

#include "server/embedded.h"
#include "workers/core/status_macros.h"

namespace quantd::client {

absl::StatusOr<std::unique_ptr<Connection>> Connect(const ChannelOptions& options) {
  if (!options.target.empty()) return ConnectRemote(options);
  EmbeddedOptions embedded;
  embedded.budget_bytes = options.embedded_budget_bytes;
  embedded.threads = options.embedded_threads;
  QUANTD_ASSIGN_OR_RETURN(std::unique_ptr<EmbeddedServer> server, StartEmbeddedServer(embedded));
  std::shared_ptr<grpc::Channel> channel = server->channel();
  std::shared_ptr<EmbeddedServer> owner = std::move(server);
  return std::make_unique<Connection>(std::vector<std::shared_ptr<grpc::Channel>>{channel}, owner);
}

}  // namespace quantd::client
