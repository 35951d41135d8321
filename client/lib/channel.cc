#include "client/lib/channel.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "proto/wire/frames.h"
#include "workers/core/status_macros.h"

namespace quantd::client {
namespace {

// Round robin over every address behind the name that says it serves: a replica that drains gets
// nothing new. gRPC itself retries the small unary calls only: a stream is retried by us, as a
// whole job.
constexpr char kServiceConfig[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "healthCheckConfig": {"serviceName": "quantd.v1.QuantizationService"},
  "methodConfig": [{
    "name": [
      {"service": "quantd.v1.QuantizationService", "method": "Estimate"},
      {"service": "quantd.v1.QuantizationService", "method": "GetCapabilities"}
    ],
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.2s",
      "maxBackoff": "5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
})";

absl::StatusOr<std::string> ReadPem(const std::string& path, absl::string_view option) {
  if (path.empty()) return std::string();
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": cannot read \"", path, "\""));
  }
  return text.str();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(
    const ChannelOptions& options) {
  const bool tls = options.tls || !options.tls_ca.empty() || !options.tls_cert.empty() ||
                   !options.tls_key.empty();
  if (!tls) return grpc::InsecureChannelCredentials();
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError(
        "--tls-cert and --tls-key go together: one of them is missing");
  }
  grpc::SslCredentialsOptions ssl;
  QUANTD_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadPem(options.tls_ca, "--tls-ca"));
  QUANTD_ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadPem(options.tls_cert, "--tls-cert"));
  QUANTD_ASSIGN_OR_RETURN(ssl.pem_private_key, ReadPem(options.tls_key, "--tls-key"));
  return grpc::SslCredentials(ssl);
}

}  // namespace

std::string ResolvableTarget(absl::string_view target) {
  for (absl::string_view scheme : {"unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "xds:"}) {
    if (absl::StartsWith(target, scheme)) return std::string(target);
  }
  return absl::StrCat("dns:///", target);
}

grpc::ChannelArguments RemoteArguments() {
  grpc::ChannelArguments args;
  args.SetServiceConfigJSON(kServiceConfig);
  args.SetMaxReceiveMessageSize(wire::kMaxMessageBytes);
  args.SetMaxSendMessageSize(wire::kMaxMessageBytes);
  // A kernel may run for minutes between two messages: without unlimited pings a peer that died in
  // silence is never noticed.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Channels with equal arguments otherwise share one TCP connection.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // The window stays fixed, as on the server: probing grows it to 30 MiB a stream and more.
  args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  args.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 4 << 20);
  // A restarted server is found again within seconds, and so is a new one: a rollout changes every
  // address of the name, and gRPC's own 30 s between two looks would leave a run without any.
  args.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 2'000);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  return args;
}

Connection::Connection(std::vector<std::shared_ptr<grpc::Channel>> channels,
                       std::shared_ptr<void> keep_alive)
    : keep_alive_(std::move(keep_alive)), channels_(std::move(channels)) {}

Connection::~Connection() = default;

std::shared_ptr<grpc::Channel> Connection::channel() {
  return channels_[next_.fetch_add(1, std::memory_order_relaxed) % channels_.size()];
}

absl::StatusOr<std::unique_ptr<Connection>> ConnectRemote(const ChannelOptions& options) {
  if (options.channels < 1 || options.channels > 64) {
    return absl::InvalidArgumentError(
        absl::StrCat("channels: ", options.channels, " is not in 1..64"));
  }
  QUANTD_ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials,
                          Credentials(options));
  const std::string target = ResolvableTarget(options.target);
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  channels.reserve(options.channels);
  for (int i = 0; i < options.channels; ++i) {
    channels.push_back(grpc::CreateCustomChannel(target, credentials, RemoteArguments()));
  }
  return std::make_unique<Connection>(std::move(channels));
}

}  // namespace quantd::client
