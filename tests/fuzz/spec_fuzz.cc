// Headers and responses from arbitrary bytes. Nothing crashes, and what is accepted once survives
// another trip over the wire unchanged. Specs that pass their checks leave only candidates that do,
// too.
//
// Input: one byte that picks the message, then the message.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "proto/wire/codec.h"
#include "workers/methods/check.h"

namespace quantd::wire {
namespace {

void Check(bool ok) {
  if (!ok) std::abort();
}

// What the engine asks of any spec before it looks at a tensor.
void CheckNeeds(const QuantizeJob& job) {
  const absl::Status status = CheckSpec(job.spec);
  if (!status.ok()) {
    Check(status.code() == absl::StatusCode::kInvalidArgument);
    Check(absl::StartsWith(status.message(), "spec."));
    return;
  }
  for (const Role role : RequiredRoles(job.spec)) Check(UsesRole(job.spec, role));
  for (const Spec& candidate : CandidatesOf(job.spec, 96, 64)) {
    Check(!IsAdaptive(candidate));
    Check(CheckAxes(candidate).ok());
  }
}

void CheckNeeds(const MeasureJob& job) {
  Check(!job.candidates.empty());
  for (const Spec& spec : job.candidates) {
    const absl::Status status = CheckSpec(spec);
    if (!status.ok()) Check(status.code() == absl::StatusCode::kInvalidArgument);
  }
}

void CheckNeeds(const DequantizeJob& job) {
  for (const PackedWeight& weight : job.weights) CheckAxes(weight.spec).IgnoreError();
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
  CheckNeeds(*job);
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
  switch (data[0] % 6) {
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
    case 4:
      wire::CheckHeader<v1::MeasureHeader>(data + 1, rest);
      break;
    case 5:
      wire::CheckFrame<v1::MeasureResponse>(data + 1, rest);
      break;
  }
  return 0;
}
