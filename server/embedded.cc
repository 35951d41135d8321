#include "server/embedded.h"

#include <utility>

#include "server/lifecycle/memory_limit.h"
#include "server/server.h"
#include "workers/core/status_macros.h"
#include "workers/linalg/blas.h"

namespace quantd {
namespace {

class EmbeddedImpl final : public EmbeddedServer {
 public:
  EmbeddedImpl() = default;

  absl::Status Start(const EmbeddedOptions& options) {
    QuantdServer::Config config;
    config.options.listen.clear();
    config.options.budget_bytes = options.budget_bytes;
    config.options.threads = options.threads;
    // One process, one user: a queue that waits is better than a refusal.
    config.options.queue_timeout = absl::Hours(24);
    config.memory_limit = MemoryLimitBytes();
    config.events = &events_;
    QUANTD_ASSIGN_OR_RETURN(server_, QuantdServer::Start(std::move(config)));
    channel_ = server_->InProcessChannel();
    return absl::OkStatus();
  }

  std::shared_ptr<grpc::Channel> channel() override { return channel_; }

 private:
  NullEventSink events_;
  std::unique_ptr<QuantdServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedServer>> StartEmbeddedServer(
    const EmbeddedOptions& options) {
  QUANTD_RETURN_IF_ERROR(InitBlas());
  auto embedded = std::make_unique<EmbeddedImpl>();
  QUANTD_RETURN_IF_ERROR(embedded->Start(options));
  return std::unique_ptr<EmbeddedServer>(std::move(embedded));
}

}  // namespace quantd
