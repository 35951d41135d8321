#include "server/transport.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/resource_quota.h"
#include "proto/wire/frames.h"

namespace quantd {
namespace {

constexpr int kPingMs = 60'000;
constexpr int kPingWaitMs = 20'000;
constexpr int kMinClientPingMs = 10'000;
constexpr int kHandshakeMs = 20'000;

// Linking gRPC's reflection library already turns it on in every server of the process: keep it
// where it was asked for and take it out elsewhere.
class ReflectionOption : public grpc::ServerBuilderOption {
 public:
  explicit ReflectionOption(bool on) : on_(on) {}
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    const std::string name = grpc::reflection::ProtoServerReflectionPlugin().name();
    plugins->erase(std::remove_if(plugins->begin(), plugins->end(),
                                  [&](const auto& plugin) { return plugin->name() == name; }),
                   plugins->end());
    if (on_) plugins->push_back(std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>());
  }

 private:
  const bool on_;
};

}  // namespace

void ApplyTransport(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(wire::kMaxMessageBytes);
  builder->SetMaxSendMessageSize(wire::kMaxMessageBytes);
  grpc::ResourceQuota quota("quantd");
  quota.Resize(ResolveTransport(options));
  builder->SetResourceQuota(quota);
  const auto set = [builder](const char* name, int value) {
    builder->AddChannelArgument(name, value);
  };
  set(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // One more: a client that balances over replicas keeps a watch on this one's health.
  set(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams + 1);
  set(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  set(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, options.lookahead_bytes);
  set(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingWaitMs);
  set(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  set(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinClientPingMs);
  set(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  if (options.connection_age > absl::ZeroDuration()) {
    set(GRPC_ARG_MAX_CONNECTION_AGE_MS,
        static_cast<int>(std::min<int64_t>(absl::ToInt64Milliseconds(options.connection_age),
                                           std::numeric_limits<int>::max())));
  }
  builder->SetOption(std::make_unique<ReflectionOption>(options.reflection));
}

}  // namespace quantd
