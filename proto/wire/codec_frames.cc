// Frames: the oneofs of the streams.
#include <cassert>
#include <utility>

#include "proto/wire/codec.h"
#include "proto/wire/codec_parts.h"
#include "workers/core/status_macros.h"

namespace quantd::wire {
namespace {

static_assert(v1::Phase_MAX == static_cast<int>(Phase::kSending));
static_assert(v1::PHASE_QUEUED == static_cast<int>(Phase::kQueued));
static_assert(v1::PHASE_UPLOADING == static_cast<int>(Phase::kUploading));
static_assert(v1::PHASE_PREPARING == static_cast<int>(Phase::kPreparing));
static_assert(v1::PHASE_SOLVING == static_cast<int>(Phase::kSolving));

ChunkFrame TakeChunk(v1::Chunk* message) {
  ChunkFrame chunk;
  chunk.tensor = message->tensor();
  chunk.offset = message->offset();
  chunk.data = std::move(*message->mutable_data());
  chunk.crc32c = message->crc32c();
  return chunk;
}

void PutChunk(ChunkFrame chunk, v1::Chunk* message) {
  message->set_tensor(chunk.tensor);
  message->set_offset(chunk.offset);
  *message->mutable_data() = std::move(chunk.data);
  message->set_crc32c(chunk.crc32c);
}

absl::StatusOr<ResponseFrame> ParseAccepted(const v1::Accepted& message) {
  const FieldPath path("accepted");
  AcceptedFrame frame;
  QUANTD_RETURN_IF_ERROR(CheckJobId(path.Field("job_id"), message.job_id()));
  frame.job_id = message.job_id();
  frame.predicted_peak_bytes = message.predicted_peak_bytes();
  QUANTD_RETURN_IF_ERROR(Require(message.predicted_seconds() >= 0, path.Field("predicted_seconds"),
                                 message.predicted_seconds(), "[0, inf]"));
  frame.predicted_seconds = message.predicted_seconds();
  frame.queue_position = message.queue_position();
  QUANTD_ASSIGN_OR_RETURN(frame.spec, ParseSpec(message.spec(), path.Field("spec")));
  return frame;
}

absl::StatusOr<ResponseFrame> ParseProgress(const v1::Progress& message) {
  const FieldPath path("progress");
  ProgressFrame frame;
  QUANTD_RETURN_IF_ERROR(
      TakeEnum(path.Field("phase"), message.phase(), v1::Phase_IsValid, &frame.phase));
  QUANTD_RETURN_IF_ERROR(Require(message.fraction() >= 0 && message.fraction() <= 1,
                                 path.Field("fraction"), message.fraction(), "[0, 1]"));
  frame.fraction = message.fraction();
  QUANTD_RETURN_IF_ERROR(Require(message.eta_seconds() >= 0, path.Field("eta_seconds"),
                                 message.eta_seconds(), "[0, inf]"));
  frame.eta_seconds = message.eta_seconds();
  if (message.has_round()) {
    const double loss = message.round().relative_loss();
    QUANTD_RETURN_IF_ERROR(
        Require(loss >= 0, path.Field("round").Field("relative_loss"), loss, "[0, inf]"));
    frame.round = {message.round().weight(), message.round().round(), loss};
  }
  return frame;
}

absl::StatusOr<ResponseFrame> ParseResultTensor(const v1::ResultTensor& message) {
  const FieldPath path("tensor");
  ResultTensorFrame frame;
  frame.index = message.index();
  frame.weight = message.weight();
  QUANTD_RETURN_IF_ERROR(ParseDecl(message.decl(), path.Field("decl"), &frame.decl));
  return frame;
}

JobStateFrame TakeState(v1::JobState* message) {
  JobStateFrame frame;
  frame.total_bytes = message->total_bytes();
  frame.offset = message->offset();
  frame.data = std::move(*message->mutable_data());
  frame.crc32c = message->crc32c();
  return frame;
}

absl::StatusOr<ResponseFrame> ParseFinal(const v1::Final& message) {
  const FieldPath path("final");
  FinalFrame frame;
  QUANTD_RETURN_IF_ERROR(TakeRequiredEnum(path.Field("outcome"), message.outcome(),
                                          v1::Outcome_IsValid, &frame.outcome));
  QUANTD_RETURN_IF_ERROR(ParseJobReport(message.report(), path.Field("report"), &frame.report));
  frame.build_id = message.build_id();
  return frame;
}

void PutAccepted(const AcceptedFrame& frame, v1::Accepted* message) {
  message->set_job_id(frame.job_id);
  message->set_predicted_peak_bytes(frame.predicted_peak_bytes);
  message->set_predicted_seconds(frame.predicted_seconds);
  message->set_queue_position(frame.queue_position);
  Put(frame.spec, message->mutable_spec());
}

void PutProgress(const ProgressFrame& frame, v1::Progress* message) {
  message->set_phase(static_cast<v1::Phase>(frame.phase));
  message->set_fraction(frame.fraction);
  message->set_eta_seconds(frame.eta_seconds);
  if (!frame.round.has_value()) {
    message->clear_round();
    return;
  }
  message->mutable_round()->set_weight(frame.round->weight);
  message->mutable_round()->set_round(frame.round->round);
  message->mutable_round()->set_relative_loss(frame.round->relative_loss);
}

void PutState(JobStateFrame frame, v1::JobState* message) {
  message->set_total_bytes(frame.total_bytes);
  message->set_offset(frame.offset);
  *message->mutable_data() = std::move(frame.data);
  message->set_crc32c(frame.crc32c);
}

void PutFinal(const FinalFrame& frame, v1::Final* message) {
  message->set_outcome(static_cast<v1::Outcome>(frame.outcome));
  PutJobReport(frame.report, message->mutable_report());
  message->set_build_id(frame.build_id);
}

absl::Status NoFrame(absl::string_view known) {
  return Invalid(FieldPath("frame"), absl::StrCat("missing, or of a kind that is not in: ", known));
}

template <typename Message>
absl::StatusOr<RequestFrame> TakeRequest(Message* message) {
  switch (message->frame_case()) {
    case Message::kHeader: {
      auto job = FromProto(message->header());
      if (!job.ok()) return std::move(job).status();
      return RequestFrame(*std::move(job));
    }
    case Message::kChunk:
      return RequestFrame(TakeChunk(message->mutable_chunk()));
    case Message::kEnd:
      return RequestFrame(EndFrame{});
    case Message::FRAME_NOT_SET:
      break;
  }
  return NoFrame("header, chunk, end");
}

// What all response streams have in common.
template <typename Message>
absl::StatusOr<ResponseFrame> TakeCommonResponse(Message* message, absl::string_view known) {
  switch (message->frame_case()) {
    case Message::kAccepted:
      return ParseAccepted(message->accepted());
    case Message::kProgress:
      return ParseProgress(message->progress());
    case Message::kFinal:
      return ParseFinal(message->final());
    default:
      return NoFrame(known);
  }
}

// And those that deliver tensors.
template <typename Message>
absl::StatusOr<ResponseFrame> TakeResponse(Message* message) {
  switch (message->frame_case()) {
    case Message::kTensor:
      return ParseResultTensor(message->tensor());
    case Message::kChunk:
      return ResponseFrame(TakeChunk(message->mutable_chunk()));
    default:
      return TakeCommonResponse(message,
                                "accepted, progress, tensor, chunk, tensor_report, final, state");
  }
}

template <typename Job, typename Message>
void PutRequest(RequestFrame frame, Message* message) {
  if (auto* job = std::get_if<Job>(&frame)) {
    Put(*job, message->mutable_header());
  } else if (auto* chunk = std::get_if<ChunkFrame>(&frame)) {
    PutChunk(std::move(*chunk), message->mutable_chunk());
  } else if (std::holds_alternative<EndFrame>(frame)) {
    message->mutable_end();
  } else {
    assert(false && "the header of the other rpc");
    message->Clear();
  }
}

// False for frames that not all streams have.
template <typename Message>
bool PutCommonResponse(const ResponseFrame& frame, Message* message) {
  if (const auto* accepted = std::get_if<AcceptedFrame>(&frame)) {
    PutAccepted(*accepted, message->mutable_accepted());
  } else if (const auto* progress = std::get_if<ProgressFrame>(&frame)) {
    PutProgress(*progress, message->mutable_progress());
  } else if (const auto* final_frame = std::get_if<FinalFrame>(&frame)) {
    PutFinal(*final_frame, message->mutable_final());
  } else {
    return false;
  }
  return true;
}

// False for frames that not all streams that deliver tensors have.
template <typename Message>
bool PutResponse(ResponseFrame* frame, Message* message) {
  if (auto* chunk = std::get_if<ChunkFrame>(frame)) {
    PutChunk(std::move(*chunk), message->mutable_chunk());
  } else if (auto* tensor = std::get_if<ResultTensorFrame>(frame)) {
    message->mutable_tensor()->set_index(tensor->index);
    message->mutable_tensor()->set_weight(tensor->weight);
    PutDecl(tensor->decl, message->mutable_tensor()->mutable_decl());
  } else {
    return PutCommonResponse(*frame, message);
  }
  return true;
}

}  // namespace

absl::StatusOr<RequestFrame> TakeFrame(v1::QuantizeRequest* message) {
  return TakeRequest(message);
}

absl::StatusOr<RequestFrame> TakeFrame(v1::MeasureRequest* message) { return TakeRequest(message); }

absl::StatusOr<RequestFrame> TakeFrame(v1::DequantizeRequest* message) {
  return TakeRequest(message);
}

absl::StatusOr<ResponseFrame> TakeFrame(v1::QuantizeResponse* message) {
  if (message->frame_case() == v1::QuantizeResponse::kState) {
    return ResponseFrame(TakeState(message->mutable_state()));
  }
  if (message->frame_case() != v1::QuantizeResponse::kTensorReport) return TakeResponse(message);
  TensorReportFrame frame;
  QUANTD_RETURN_IF_ERROR(
      ParseTensorReport(message->tensor_report(), FieldPath("tensor_report"), &frame.report));
  return ResponseFrame(std::move(frame));
}

absl::StatusOr<ResponseFrame> TakeFrame(v1::MeasureResponse* message) {
  if (message->frame_case() != v1::MeasureResponse::kCandidateReport) {
    return TakeCommonResponse(message, "accepted, progress, candidate_report, final");
  }
  const FieldPath path("candidate_report");
  const v1::CandidateReport& from = message->candidate_report();
  CandidateReportFrame frame;
  QUANTD_RETURN_IF_ERROR(Require(from.candidate() < kMaxTensors, path.Field("candidate"),
                                 from.candidate(), "0..4095"));
  frame.report.candidate = static_cast<int>(from.candidate());
  QUANTD_RETURN_IF_ERROR(
      ParseTensorReport(from.report(), path.Field("report"), &frame.report.report));
  return ResponseFrame(std::move(frame));
}

absl::StatusOr<ResponseFrame> TakeFrame(v1::DequantizeResponse* message) {
  return TakeResponse(message);
}

void PutFrame(RequestFrame frame, v1::QuantizeRequest* message) {
  PutRequest<QuantizeJob>(std::move(frame), message);
}

void PutFrame(RequestFrame frame, v1::MeasureRequest* message) {
  PutRequest<MeasureJob>(std::move(frame), message);
}

void PutFrame(RequestFrame frame, v1::DequantizeRequest* message) {
  PutRequest<DequantizeJob>(std::move(frame), message);
}

void PutFrame(ResponseFrame frame, v1::QuantizeResponse* message) {
  if (PutResponse(&frame, message)) return;
  if (auto* state = std::get_if<JobStateFrame>(&frame)) {
    PutState(std::move(*state), message->mutable_state());
    return;
  }
  PutTensorReport(std::get<TensorReportFrame>(frame).report, message->mutable_tensor_report());
}

void PutFrame(ResponseFrame frame, v1::MeasureResponse* message) {
  if (PutCommonResponse(frame, message)) return;
  const CandidateReport& report = std::get<CandidateReportFrame>(frame).report;
  message->mutable_candidate_report()->set_candidate(static_cast<uint32_t>(report.candidate));
  PutTensorReport(report.report, message->mutable_candidate_report()->mutable_report());
}

void PutFrame(ResponseFrame frame, v1::DequantizeResponse* message) {
  if (PutResponse(&frame, message)) return;
  assert(false && "Dequantize has neither tensor reports nor states");
  message->Clear();
}

}  // namespace quantd::wire
