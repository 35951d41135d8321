// The frames of a job's stream as plain structs: what rpc/ moves and session/ understands.
//
// Message-free: this header, chunker and assembler know core types only, so that the session state
// machine and its fuzzers need no generated code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "workers/core/job.h"
#include "workers/core/progress.h"
#include "workers/core/report.h"
#include "workers/core/tensor.h"

namespace quantd::wire {

inline constexpr uint64_t kChunkBytes = uint64_t{1} << 20;
inline constexpr int kMaxMessageBytes = 4 << 20;

struct ChunkFrame {
  uint32_t tensor = 0;
  uint64_t offset = 0;
  std::string data;
  uint32_t crc32c = 0;
};

struct EndFrame {};

// client -> server
using RequestFrame = std::variant<QuantizeJob, MeasureJob, DequantizeJob, ChunkFrame, EndFrame>;

struct AcceptedFrame {
  std::string job_id;
  uint64_t predicted_peak_bytes = 0;
  double predicted_seconds = 0;
  uint32_t queue_position = 0;
  Spec spec;
};

struct ProgressFrame {
  Phase phase = Phase::kUnspecified;
  double fraction = 0;
  double eta_seconds = 0;
  struct Round {
    uint32_t weight = 0;  // index among the request's weights
    uint32_t round = 0;
    double relative_loss = 0;
  };
  std::optional<Round> round;  // of solvers that go in rounds: the last one
};

// A run of bytes of a state of the job: see JobState in quantization_service.proto.
struct JobStateFrame {
  uint64_t total_bytes = 0;
  uint64_t offset = 0;
  std::string data;
  uint32_t crc32c = 0;
};

struct ResultTensorFrame {
  uint32_t index = 0;
  uint32_t weight = 0;
  TensorDecl decl;
};

struct TensorReportFrame {
  TensorReport report;
};

struct CandidateReportFrame {
  CandidateReport report;
};

struct FinalFrame {
  Outcome outcome = Outcome::kUnspecified;
  JobReport report;
  std::string build_id;
};

// server -> client
using ResponseFrame =
    std::variant<AcceptedFrame, ProgressFrame, ResultTensorFrame, ChunkFrame, TensorReportFrame,
                 CandidateReportFrame, FinalFrame, JobStateFrame>;

}  // namespace quantd::wire
