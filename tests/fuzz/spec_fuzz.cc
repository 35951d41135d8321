// Headers and responses from arbitrary bytes. Nothing crashes, and what is accepted once survives
// another trip over the wire unchanged.
//
// Input: one byte that picks the message, then the message.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "proto/wire/codec.h"

namespace quantd::wire {
namespace {

void Check(bool ok) {
  if (!ok) std::abort();
}

template <typename Header>
void CheckHeader(const uint8_t* data, int size) {
  Header header;
  if (!header.ParseFromArray(data, size)) return;
  const auto job = FromProto(header);
  if (!job.ok()) {
    Check(!job.status().message().empty());
    return;
  }
  Header written;
  Put(*job, &written);
  const std::string bytes = written.SerializeAsString();
  Header arrived;
  Check(arrived.ParseFromString(bytes));
  const auto again = FromProto(arrived);
  Check(again.ok());
  Put(*again, &arrived);
  Check(arrived.SerializeAsString() == bytes);
}

template <typename Message>
void CheckFrame(const uint8_t* data, int size) {
  Message message;
  if (!message.ParseFromArray(data, size)) return;
  auto frame = TakeFrame(&message);
  if (!frame.ok()) return;
  Message written;
  PutFrame(*std::move(frame), &written);
  const std::string bytes = written.SerializeAsString();
  Message arrived;
  Check(arrived.ParseFromString(bytes));
  auto again = TakeFrame(&arrived);
  Check(again.ok());
  PutFrame(*std::move(again), &arrived);
  Check(arrived.SerializeAsString() == bytes);
}

}  // namespace
}  // namespace quantd::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quantd;  // NOLINT: the entry point has a name of its own
  if (size == 0) return 0;
  const int rest = static_cast<int>(size - 1);
  switch (data[0] % 4) {
    case 0:
      wire::CheckHeader<v1::QuantizeHeader>(data + 1, rest);
      break;
    case 1:
      wire::CheckHeader<v1::DequantizeHeader>(data + 1, rest);
      break;
    case 2:
      wire::CheckFrame<v1::QuantizeResponse>(data + 1, rest);
      break;
    case 3:
      wire::CheckFrame<v1::QuantizeRequest>(data + 1, rest);
      break;
  }
  return 0;
}
