#include "server/rpc/status.h"

#include <string>

namespace quantd {
namespace {

constexpr size_t kMaxMessage = 2000;  // times 3 when escaped: below gRPC's 8 KiB of metadata

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string message(status.message());
  if (message.size() > kMaxMessage) {
    size_t end = kMaxMessage;
    // Not inside a UTF-8 sequence.
    while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
    message.resize(end);
    message += "...";
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

}  // namespace quantd
