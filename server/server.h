// The whole service, put together: pools, admission, sessions and the gRPC server around them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "server/options.h"
#include "server/session/options.h"
#include "workers/core/events.h"

namespace quantd {

// Thread-safe after Start.
class QuantdServer {
 public:
  struct Config {
    ServerOptions options;        // `listen` may be empty: reachable through InProcessChannel only
    uint64_t memory_limit = 0;    // for the default budget; 0: unknown
    EventSink* events = nullptr;  // required; outlives the server
    // The session's marks and timeouts; max_call comes from `options`.
    SessionOptions session;
  };

  // Requires InitBlas(). UNAVAILABLE naming an address that cannot be bound, INVALID_ARGUMENT for
  // TLS files that do not work. The server answers SERVING when this returns.
  static absl::StatusOr<std::unique_ptr<QuantdServer>> Start(Config config);

  // Shutdown with no grace, then waits for kernels to notice.
  virtual ~QuantdServer() = default;

  // As listened on, in the order of options.listen; 0 for unix sockets.
  virtual const std::vector<int>& ports() const = 0;
  virtual int health_port() const = 0;  // 0: off
  virtual uint64_t budget_bytes() const = 0;
  virtual int threads() const = 0;
  virtual std::shared_ptr<grpc::Channel> InProcessChannel() = 0;

  // Health says NOT_SERVING; new and waiting jobs end with UNAVAILABLE, running ones go on.
  virtual void RefuseNew() = 0;
  virtual int64_t running_jobs() const = 0;
  // Ends every job with UNAVAILABLE.
  virtual void CancelRunning() = 0;
  // Closes the transport; calls that outlive `grace` are cut. True when all jobs have given their
  // memory back within another `grace` + 5 s.
  virtual bool Shutdown(absl::Duration grace) = 0;
};

}  // namespace quantd
