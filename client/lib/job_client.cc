#include "client/lib/job_client.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/lib/call_status.h"
#include "client/lib/result_collector.h"
#include "grpcpp/client_context.h"
#include "proto/wire/chunker.h"
#include "proto/wire/codec.h"
#include "quantd/v1/quantization_service.grpc.pb.h"

namespace quantd::client {
namespace {

constexpr char kPushbackKey[] = "grpc-retry-pushback-ms";

std::optional<absl::Duration> Pushback(const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  auto it = trailers.find(kPushbackKey);
  if (it == trailers.end()) return std::nullopt;
  int64_t ms = 0;
  // What is not a number counts as "do not come back", as in gRPC's own retry rules.
  if (!absl::SimpleAtoi(absl::string_view(it->second.data(), it->second.size()), &ms)) ms = -1;
  return absl::Milliseconds(ms);
}

std::vector<std::string> WeightsOf(const std::vector<TensorDecl>& tensors) {
  std::vector<std::string> names;
  for (const TensorDecl& tensor : tensors) {
    if (tensor.role == Role::kWeight) names.push_back(tensor.name);
  }
  return names;
}

// Of the weights that tensors are delivered for.
std::vector<std::string> WeightNames(const QuantizeJob& job) { return WeightsOf(job.tensors); }

std::vector<std::string> WeightNames(const MeasureJob&) { return {}; }

std::vector<std::string> WeightNames(const DequantizeJob& job) {
  std::vector<std::string> names;
  names.reserve(job.weights.size());
  for (const PackedWeight& weight : job.weights) names.push_back(weight.name);
  return names;
}

// Sends header, every chunk and End. Returns bytes sent; stops early when the call has ended.
template <typename Request, typename Stream, typename JobT>
uint64_t Upload(Stream* stream, const JobT& job,
                absl::Span<const absl::Span<const std::byte>> bytes, uint64_t chunk_bytes,
                JobObserver* observer) {
  Request message;
  wire::PutFrame(wire::RequestFrame(job), &message);
  if (!stream->Write(message)) return 0;
  uint64_t sent = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    wire::Chunker chunker(static_cast<uint32_t>(i), bytes[i], chunk_bytes);
    while (std::optional<wire::ChunkFrame> chunk = chunker.Next()) {
      const uint64_t size = chunk->data.size();
      wire::PutFrame(wire::RequestFrame(std::move(*chunk)), &message);
      if (!stream->Write(message)) return sent;
      sent += size;
      observer->OnSent(size);
    }
  }
  wire::PutFrame(wire::RequestFrame(wire::EndFrame{}), &message);
  if (stream->Write(message)) stream->WritesDone();
  return sent;
}

void Tell(const wire::ResponseFrame& frame, JobObserver* observer) {
  if (const auto* accepted = std::get_if<wire::AcceptedFrame>(&frame))
    observer->OnAccepted(*accepted);
  if (const auto* progress = std::get_if<wire::ProgressFrame>(&frame))
    observer->OnProgress(*progress);
}

// Reads until the stream ends. The first error of our own cancels the call; the rest is drained.
template <typename Response, typename Stream>
absl::Status Collect(Stream* stream, grpc::ClientContext* context, ResultCollector* collector,
                     JobObserver* observer, bool* advanced) {
  absl::Status status;
  Response message;
  while (stream->Read(&message)) {
    if (!status.ok()) continue;
    absl::StatusOr<wire::ResponseFrame> frame = wire::TakeFrame(&message);
    if (frame.ok()) {
      Tell(*frame, observer);
      status = collector->Add(*std::move(frame));
      if (std::optional<std::string> state = collector->TakeState()) {
        *advanced |= observer->OnState(*std::move(state));
      }
    } else {
      status = absl::InternalError(
          absl::StrCat("unreadable answer of the server: ", frame.status().message()));
    }
    if (!status.ok()) context->TryCancel();
  }
  return status;
}

template <typename Request, typename Response, typename JobT, typename Open>
Attempt RunAttempt(const JobT& job, absl::Span<const absl::Span<const std::byte>> bytes,
                   const CallOptions& options, JobObserver* observer, StopSource* stop, Open open) {
  JobObserver silent;
  if (observer == nullptr) observer = &silent;
  Attempt attempt;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       absl::ToChronoMilliseconds(options.deadline));
  std::optional<StopRegistration> registration;
  if (stop != nullptr) registration.emplace(stop, [&context] { context.TryCancel(); });

  auto stream = open(&context);
  ResultCollector collector(WeightNames(job));
  uint64_t sent = 0;
  std::thread writer(
      [&] { sent = Upload<Request>(stream.get(), job, bytes, options.chunk_bytes, observer); });
  bool advanced = false;
  absl::Status own = Collect<Response>(stream.get(), &context, &collector, observer, &advanced);
  writer.join();
  const absl::Status theirs = StatusOf(stream->Finish());

  if (stop != nullptr && stop->stopped()) {
    attempt.failure.status = absl::CancelledError("stopped");
  } else if (!own.ok()) {
    attempt.failure.status = own;
  } else if (!theirs.ok()) {
    attempt.failure.status = theirs;
    attempt.failure.pushback = Pushback(context);
  } else {
    absl::StatusOr<JobAnswer> answer = collector.Finish();
    attempt.failure.status = answer.status();
    if (answer.ok()) attempt.answer = *std::move(answer);
  }
  attempt.failure.advanced = advanced;
  attempt.answer.sent_bytes = sent;
  return attempt;
}

absl::Status CheckCandidates(const MeasureJob& job, const std::vector<CandidateReport>& reports) {
  const std::vector<std::string> weights = WeightsOf(job.tensors);
  const size_t each = job.candidates.size();
  if (reports.size() != weights.size() * each) {
    return absl::InternalError(absl::StrCat("the server reported ", reports.size(),
                                            " candidates of ", weights.size() * each));
  }
  for (size_t i = 0; i < reports.size(); ++i) {
    if (reports[i].candidate == static_cast<int>(i % each) &&
        reports[i].report.name == weights[i / each]) {
      continue;
    }
    return absl::InternalError(absl::StrCat(
        "report ", i, " of the server is of candidate ", reports[i].candidate, " on \"",
        reports[i].report.name, "\", not of ", i % each, " on \"", weights[i / each], "\""));
  }
  return absl::OkStatus();
}

}  // namespace

JobClient::JobClient(std::shared_ptr<grpc::Channel> channel, StopSource* stop)
    : channel_(std::move(channel)), stop_(stop) {}

Attempt JobClient::Quantize(const QuantizeJob& job,
                            absl::Span<const absl::Span<const std::byte>> bytes,
                            const CallOptions& options, JobObserver* observer) {
  auto stub = v1::QuantizationService::NewStub(channel_);
  return RunAttempt<v1::QuantizeRequest, v1::QuantizeResponse>(
      job, bytes, options, observer, stop_,
      [&](grpc::ClientContext* context) { return stub->Quantize(context); });
}

Attempt JobClient::Measure(const MeasureJob& job,
                           absl::Span<const absl::Span<const std::byte>> bytes,
                           const CallOptions& options, JobObserver* observer) {
  auto stub = v1::QuantizationService::NewStub(channel_);
  Attempt attempt = RunAttempt<v1::MeasureRequest, v1::MeasureResponse>(
      job, bytes, options, observer, stop_,
      [&](grpc::ClientContext* context) { return stub->Measure(context); });
  if (attempt.failure.status.ok()) {
    attempt.failure.status = CheckCandidates(job, attempt.answer.candidates);
  }
  return attempt;
}

Attempt JobClient::Dequantize(const DequantizeJob& job,
                              absl::Span<const absl::Span<const std::byte>> bytes,
                              const CallOptions& options, JobObserver* observer) {
  auto stub = v1::QuantizationService::NewStub(channel_);
  return RunAttempt<v1::DequantizeRequest, v1::DequantizeResponse>(
      job, bytes, options, observer, stop_,
      [&](grpc::ClientContext* context) { return stub->Dequantize(context); });
}

}  // namespace quantd::client
