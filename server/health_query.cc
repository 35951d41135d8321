#include "server/health_query.h"

#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/byte_buffer.h"

namespace quantd {
namespace {

using google::protobuf::io::ArrayInputStream;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::StringOutputStream;

// The health protocol: https://github.com/grpc/grpc/blob/master/doc/health-checking.md. Its two
// messages have one field each, number 1, so they are written and read here.
constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr uint32_t kServiceTag = 1 << 3 | 2;  // a string
constexpr uint32_t kStatusTag = 1 << 3 | 0;   // an enum
constexpr uint32_t kServing = 1;

grpc::ByteBuffer Request(const std::string& service) {
  std::string bytes;
  {
    StringOutputStream stream(&bytes);
    CodedOutputStream out(&stream);
    out.WriteTag(kServiceTag);
    out.WriteVarint32(static_cast<uint32_t>(service.size()));
    out.WriteString(service);
  }
  grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// 0, unknown, where the answer cannot be read.
uint32_t ServingStatus(const grpc::ByteBuffer& answer) {
  grpc::Slice slice;
  if (!answer.DumpToSingleSlice(&slice).ok()) return 0;
  ArrayInputStream stream(slice.begin(), static_cast<int>(slice.size()));
  CodedInputStream in(&stream);
  uint32_t status = 0;
  return in.ReadTag() == kStatusTag && in.ReadVarint32(&status) ? status : 0;
}

}  // namespace

absl::Status AskHealth(const HealthQuery& query) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  grpc::GenericStub stub(
      grpc::CreateCustomChannel(query.target, grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       absl::ToChronoMilliseconds(query.timeout));
  const grpc::ByteBuffer request = Request(query.service);
  grpc::ByteBuffer answer;
  grpc::Status status;
  absl::Notification done;
  stub.UnaryCall(&context, kCheck, grpc::StubOptions(), &request, &answer, [&](grpc::Status got) {
    status = std::move(got);
    done.Notify();
  });
  done.WaitForNotification();
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) {
    return absl::UnavailableError(
        absl::StrCat(query.target, " does not know the service \"", query.service, "\""));
  }
  if (!status.ok()) {
    return absl::UnavailableError(
        absl::StrCat(query.target,
                     " does not answer (is --health-listen set there?): ", status.error_message()));
  }
  if (ServingStatus(answer) != kServing) {
    return absl::UnavailableError(
        absl::StrCat(query.target, ": \"", query.service, "\" is not serving"));
  }
  return absl::OkStatus();
}

}  // namespace quantd
