// gRPC's settings: what bounds its memory, its streams and its patience.
#pragma once

#include "grpcpp/server_builder.h"
#include "server/options.h"

namespace quantd {

// Everything but ports and services:
// - messages up to 4 MiB both ways; a ResourceQuota always, because the message limit alone lets
// gRPC
//   buffer an oversized message whole before it refuses it;
// - at most `max_streams` calls a connection beside a watch on the health, and a fixed window of
//   `lookahead_bytes` a stream instead of bandwidth probing, under which a stream that the server
//   does not read takes up to 32 MiB;
// - a ping each minute, also in silence, so that the job of a client that vanished ends within 80
// s;
// - connections age, with unlimited grace for running calls, so that new replicas get load;
// - ports are not shared: a second server on the same port fails instead of taking half the calls.
void ApplyTransport(const ServerOptions& options, grpc::ServerBuilder* builder);

}  // namespace quantd
