// One attempt of one job: a Quantize, Measure or Dequantize call from header to Final.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/lib/retry.h"
#include "client/lib/stop.h"
#include "grpcpp/channel.h"
#include "proto/wire/frames.h"
#include "workers/core/buffer.h"
#include "workers/core/job.h"

namespace quantd::client {

// A whole result tensor, checked against its declared digest.
struct ReceivedTensor {
  int weight = 0;  // index among the job's weights
  TensorDecl decl;
  Buffer bytes;
};

struct JobAnswer {
  wire::AcceptedFrame accepted;
  std::vector<ReceivedTensor> tensors;      // in the order announced
  std::vector<CandidateReport> candidates;  // of Measure: weight by weight, all of each
  wire::FinalFrame final;                   // report.tensors always filled for Quantize
  uint64_t sent_bytes = 0;                  // of tensors
};

// Called from the attempt's own threads, two at a time at most; must not block for long.
class JobObserver {
 public:
  virtual ~JobObserver() = default;
  virtual void OnSent(uint64_t /*bytes*/) {}
  virtual void OnAccepted(const wire::AcceptedFrame&) {}
  virtual void OnProgress(const wire::ProgressFrame&) {}
  // A whole state of the job: the bytes of a tensor of role CHECKPOINT with which the same request
  // goes on from there. Nothing is read from the server while this runs.
  // False if it could not be kept, so that a next attempt cannot go on from it.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): overrides keep it
  virtual bool OnState(std::string /*state*/) { return false; }
  // Before the wait for the next attempt; what OnSent told so far is void.
  virtual void OnRetry(const AttemptFailure&, absl::Duration /*delay*/) {}
};

struct Attempt {
  AttemptFailure failure;  // failure.status is OK when the job ended with Final
  JobAnswer answer;        // meaningful only then
};

struct CallOptions {
  absl::Duration deadline = absl::Minutes(30);
  uint64_t chunk_bytes = wire::kChunkBytes;
};

// Thread-safe; each call blocks its thread until the attempt has ended. Reading and writing go on
// at the same time, so a server that answers before it has read everything cannot deadlock the
// call.
class JobClient {
 public:
  // `stop` cancels running calls; may be null.
  JobClient(std::shared_ptr<grpc::Channel> channel, StopSource* stop);

  // bytes[i] are those of job.tensors[i] and must stay valid during the call; they are sent from
  // where they lie. Codes beside the server's own: DATA_LOSS for a result whose digest, CRC or
  // length does not hold, or a state's; INTERNAL for answers that break the stream's grammar;
  // UNAVAILABLE for a call that ends well but without Final; CANCELLED when stopped.
  Attempt Quantize(const QuantizeJob& job, absl::Span<const absl::Span<const std::byte>> bytes,
                   const CallOptions& options, JobObserver* observer = nullptr);
  // INTERNAL also unless the answer holds every candidate on every weight, in order.
  Attempt Measure(const MeasureJob& job, absl::Span<const absl::Span<const std::byte>> bytes,
                  const CallOptions& options, JobObserver* observer = nullptr);
  Attempt Dequantize(const DequantizeJob& job, absl::Span<const absl::Span<const std::byte>> bytes,
                     const CallOptions& options, JobObserver* observer = nullptr);

 private:
  std::shared_ptr<grpc::Channel> channel_;
  StopSource* stop_;
};

}  // namespace quantd::client
