#include "client/lib/call_status.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quantd::client {
namespace {

const char* LikelyReason(const std::string& message) {
  const bool none_connects = absl::StrContains(message, "connections to all backends failing");
  if (none_connects && absl::StrContains(message, "backend unhealthy")) {
    return " (the health service there does not say that quantd.v1.QuantizationService serves)";
  }
  if (none_connects && absl::StrContains(message, "Socket closed")) {
    return " (does the server want TLS? then give --tls-ca)";
  }
  return "";
}

}  // namespace

absl::Status StatusOf(const grpc::Status& status) {
  const std::string& message = status.error_message();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      absl::StrCat(message, LikelyReason(message)));
}

}  // namespace quantd::client
