// The whole server inside another process: what `quantctl` uses when no --server is named.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "grpcpp/channel.h"

namespace quantd {

struct EmbeddedOptions {
  uint64_t budget_bytes = 0;  // 0: three quarters of the memory this process may use
  int threads = 0;            // 0: AvailableThreads()
};

// The same sessions, admission and reactors as quantd's own, reached through an in-process channel.
class EmbeddedServer {
 public:
  virtual ~EmbeddedServer() = default;  // cancels what runs and waits for it
  virtual std::shared_ptr<grpc::Channel> channel() = 0;
};

absl::StatusOr<std::unique_ptr<EmbeddedServer>> StartEmbeddedServer(const EmbeddedOptions& options);

}  // namespace quantd
