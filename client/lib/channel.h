// How a client reaches a server: one or several gRPC channels with the house's settings.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace quantd::client {

struct ChannelOptions {
  // "" = the server embedded in this process. "host:port" means "dns:///host:port"; "unix:/path",
  // "ipv4:...", "dns:///..." are taken as they are.
  std::string target;
  // HTTP/2 connections. One already reaches every replica behind a name (round robin); more help
  // where a single replica sits behind a fast network. Ignored for the embedded server.
  int channels = 1;

  bool tls = false;      // implied by any of the three files
  std::string tls_ca;    // PEM file with the roots to trust; "" = the system's
  std::string tls_cert;  // PEM files of the client's own certificate and key; both or neither
  std::string tls_key;

  // Embedded server only; 0 = its own defaults.
  uint64_t embedded_budget_bytes = 0;
  int embedded_threads = 0;
};

// The name gRPC resolves for `target`.
std::string ResolvableTarget(absl::string_view target);

// Settings of every remote channel: keepalive, message limit, round robin, flow control, retry of
// the small unary calls.
grpc::ChannelArguments RemoteArguments();

// Channels plus whatever must live as long as they do. Thread-safe.
class Connection {
 public:
  // `keep_alive` is destroyed after the channels.
  explicit Connection(std::vector<std::shared_ptr<grpc::Channel>> channels,
                      std::shared_ptr<void> keep_alive = nullptr);
  ~Connection();

  // The next channel in turn.
  std::shared_ptr<grpc::Channel> channel();

 private:
  std::shared_ptr<void> keep_alive_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::atomic<uint32_t> next_{0};
};

// To options.target, which must not be empty. Connects lazily: an unreachable server shows on the
// first call. INVALID_ARGUMENT naming the option for unreadable or incomplete TLS files.
absl::StatusOr<std::unique_ptr<Connection>> ConnectRemote(const ChannelOptions& options);

}  // namespace quantd::client
