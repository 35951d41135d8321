#include "server/session/result_frames.h"

#include <utility>

namespace quantd {

ResultFrames::ResultFrames(JobResult result, Role role, std::string build_id, uint64_t chunk_bytes)
    : result_(std::move(result)),
      role_(role),
      build_id_(std::move(build_id)),
      chunk_bytes_(chunk_bytes) {}

std::optional<wire::ResponseFrame> ResultFrames::Next() {
  if (std::optional<wire::ResponseFrame> frame = NextOfTensors()) return frame;
  if (candidate_ < result_.candidates.size()) {
    return wire::CandidateReportFrame{std::move(result_.candidates[candidate_++])};
  }
  if (final_sent_) return std::nullopt;
  final_sent_ = true;
  wire::FinalFrame final;
  final.outcome = result_.report.outcome();
  final.report = std::move(result_.report);
  final.build_id = std::move(build_id_);
  return final;
}

std::optional<wire::ResponseFrame> ResultFrames::NextOfTensors() {
  if (chunker_) {
    if (std::optional<wire::ChunkFrame> chunk = chunker_->Next()) return *std::move(chunk);
    chunker_.reset();
    result_.outputs[output_ - 1].bytes = Buffer();
  }
  const std::vector<TensorReport>& reports = result_.report.tensors;
  const bool outputs_left = output_ < result_.outputs.size();
  const bool reports_left = report_ < reports.size();
  if (outputs_left &&
      (!reports_left || static_cast<size_t>(result_.outputs[output_].decl.weight) <= report_)) {
    const Output& output = result_.outputs[output_];
    wire::ResultTensorFrame frame;
    frame.index = static_cast<uint32_t>(output_);
    frame.weight = static_cast<uint32_t>(output.decl.weight);
    frame.decl = {output.decl.name, role_, output.decl.dtype, output.decl.shape, output.digest};
    chunker_.emplace(frame.index,
                     absl::Span<const std::byte>(output.bytes.data(), output.bytes.size()),
                     chunk_bytes_);
    ++output_;
    return frame;
  }
  if (reports_left) return wire::TensorReportFrame{reports[report_++]};
  return std::nullopt;
}

}  // namespace quantd
