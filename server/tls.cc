#include "server/tls.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>

#include "absl/strings/str_cat.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "workers/core/status_macros.h"

namespace quantd {
namespace {

constexpr unsigned kReloadSeconds = 30;

struct Free {
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};

absl::StatusOr<std::unique_ptr<BIO, Free>> Open(const char* option, const std::string& path) {
  std::unique_ptr<BIO, Free> file(BIO_new_file(path.c_str(), "r"));
  if (file == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": cannot read ", path, ": ", std::strerror(errno)));
  }
  return file;
}

absl::StatusOr<std::unique_ptr<X509, Free>> ReadCertificate(const char* option,
                                                            const std::string& path) {
  QUANTD_ASSIGN_OR_RETURN(const auto file, Open(option, path));
  std::unique_ptr<X509, Free> certificate(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": no PEM certificate in ", path));
  }
  return certificate;
}

absl::Status CheckFiles(const ServerOptions& options) {
  QUANTD_ASSIGN_OR_RETURN(const auto certificate, ReadCertificate("--tls-cert", options.tls_cert));
  QUANTD_ASSIGN_OR_RETURN(const auto file, Open("--tls-key", options.tls_key));
  // An empty passphrase: never ask on a terminal.
  std::unique_ptr<EVP_PKEY, Free> key(
      PEM_read_bio_PrivateKey(file.get(), nullptr, nullptr, const_cast<char*>("")));
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tls-key: no unencrypted PEM private key in ", options.tls_key));
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tls-key: ", options.tls_key, " is not the key of ", options.tls_cert));
  }
  if (options.tls_client_ca.empty()) return absl::OkStatus();
  return ReadCertificate("--tls-client-ca", options.tls_client_ca).status();
}

}  // namespace

absl::StatusOr<absl::Time> CertificateEnd(const ServerOptions& options) {
  QUANTD_RETURN_IF_ERROR(CheckFiles(options));
  QUANTD_ASSIGN_OR_RETURN(const auto certificate, ReadCertificate("--tls-cert", options.tls_cert));
  std::tm end = {};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--tls-cert: cannot read when the certificate in ", options.tls_cert, " ends"));
  }
  return absl::FromTM(end, absl::UTCTimeZone());
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(
    const ServerOptions& options) {
  if (!options.tls()) return grpc::InsecureServerCredentials();
  QUANTD_RETURN_IF_ERROR(CheckFiles(options));
  grpc::experimental::TlsServerCredentialsOptions tls(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          options.tls_key, options.tls_cert, options.tls_client_ca, kReloadSeconds));
  tls.watch_identity_key_cert_pairs();
  if (!options.tls_client_ca.empty()) {
    tls.watch_root_certs();
    tls.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(tls);
}

}  // namespace quantd
