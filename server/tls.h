// Server credentials from PEM files that may be replaced while the server runs.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/security/server_credentials.h"
#include "server/options.h"

namespace quantd {

// Plain credentials without --tls-cert; else TLS, and mutual TLS with --tls-client-ca. The files
// are looked at again every 30 s; new handshakes use what they hold then. INVALID_ARGUMENT naming
// the file when it cannot be read, holds no PEM of its kind, or key and certificate do not belong
// together: gRPC itself would start and fail every handshake.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const ServerOptions& options);

// When the first certificate of the PEM file `path` ends. INVALID_ARGUMENT naming the file when it
// holds none, or one whose end cannot be read.
absl::StatusOr<absl::Time> CertificateEnd(const std::string& path);

}  // namespace quantd
