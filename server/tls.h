// Server credentials from PEM files that may be replaced while the server runs.
#pragma once

#include <memory>

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

// When the certificate of `tls_cert` ends. INVALID_ARGUMENT as above: files that do not belong
// together are not what the server shows.
absl::StatusOr<absl::Time> CertificateEnd(const ServerOptions& options);

}  // namespace quantd
