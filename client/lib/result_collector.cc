#include "client/lib/result_collector.h"

#include <cstring>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"

namespace quantd::client {

// One tensor on its way in. The assembler checks it as a request of its own with a single tensor.
struct ResultCollector::Incoming : TensorSink {
  absl::Status Write(int, uint64_t offset, absl::Span<const std::byte> bytes) override {
    std::memcpy(buffer.data() + offset, bytes.data(), bytes.size());
    return absl::OkStatus();
  }

  int weight = 0;
  std::vector<TensorDecl> decls;
  Buffer buffer;
  std::unique_ptr<wire::Assembler> assembler;
};

ResultCollector::ResultCollector(std::vector<std::string> weight_names)
    : weight_names_(std::move(weight_names)) {}
ResultCollector::~ResultCollector() = default;

absl::Status ResultCollector::Add(wire::ResponseFrame frame) {
  state_.reset();
  if (final_) return absl::InternalError("the server sent a frame after Final");
  if (auto* accepted = std::get_if<wire::AcceptedFrame>(&frame)) {
    if (accepted_) return absl::InternalError("the server sent Accepted twice");
    accepted_ = true;
    answer_.accepted = std::move(*accepted);
    return absl::OkStatus();
  }
  if (std::holds_alternative<wire::ProgressFrame>(frame)) return absl::OkStatus();
  if (!accepted_) return absl::InternalError("the server sent results before Accepted");
  if (auto* tensor = std::get_if<wire::ResultTensorFrame>(&frame))
    return AddTensor(std::move(*tensor));
  if (auto* chunk = std::get_if<wire::ChunkFrame>(&frame)) return AddChunk(std::move(*chunk));
  if (auto* piece = std::get_if<wire::JobStateFrame>(&frame)) return AddState(std::move(*piece));
  if (auto* report = std::get_if<wire::TensorReportFrame>(&frame)) {
    reports_.push_back(std::move(report->report));
    return absl::OkStatus();
  }
  if (auto* candidate = std::get_if<wire::CandidateReportFrame>(&frame)) {
    answer_.candidates.push_back(std::move(candidate->report));
    return absl::OkStatus();
  }
  answer_.final = std::move(std::get<wire::FinalFrame>(frame));
  final_ = true;
  return absl::OkStatus();
}

absl::Status ResultCollector::AddTensor(wire::ResultTensorFrame frame) {
  const std::string& name = frame.decl.name;
  if (frame.weight >= weight_names_.size()) {
    return absl::InternalError(absl::StrCat("result tensor \"", name, "\": weight ", frame.weight,
                                            " of a request with ", weight_names_.size()));
  }
  if (by_index_.contains(frame.index)) {
    return absl::InternalError(absl::StrCat("result tensor \"", name, "\": number ", frame.index,
                                            " was announced before"));
  }
  if (!frame.decl.digest) {
    return absl::InternalError(absl::StrCat("result tensor \"", name, "\" comes without a digest"));
  }
  auto incoming = std::make_unique<Incoming>();
  incoming->weight = static_cast<int>(frame.weight);
  QUANTD_ASSIGN_OR_RETURN(uint64_t bytes,
                          CheckedBytes(frame.decl.shape, frame.decl.dtype, frame.decl.name));
  QUANTD_ASSIGN_OR_RETURN(incoming->buffer, Buffer::Allocate(bytes));
  incoming->decls.push_back(std::move(frame.decl));
  incoming->assembler = std::make_unique<wire::Assembler>(&incoming->decls, incoming.get());
  by_index_[frame.index] = incoming.get();
  incoming_.push_back(std::move(incoming));
  return absl::OkStatus();
}

absl::Status ResultCollector::AddChunk(wire::ChunkFrame chunk) {
  auto it = by_index_.find(chunk.tensor);
  if (it == by_index_.end()) {
    return absl::InternalError(absl::StrCat("the server sent a chunk of result tensor ",
                                            chunk.tensor, " before announcing it"));
  }
  chunk.tensor = 0;
  return it->second->assembler->Add(chunk);
}

absl::Status ResultCollector::AddState(wire::JobStateFrame piece) {
  if (!incoming_.empty() || !reports_.empty()) {
    return absl::InternalError("the server sent a state of the job after results");
  }
  absl::StatusOr<std::optional<std::string>> whole = states_.Add(std::move(piece));
  if (!whole.ok()) return whole.status();
  state_ = *std::move(whole);
  return absl::OkStatus();
}

absl::Status ResultCollector::CheckAgainstReport() const {
  std::map<std::string, Digest> arrived;
  std::vector<bool> delivered(weight_names_.size(), false);
  for (const ReceivedTensor& tensor : answer_.tensors) {
    arrived[tensor.decl.name] = *tensor.decl.digest;
    delivered[tensor.weight] = true;
  }
  const std::vector<TensorReport>& reports = answer_.final.report.tensors;
  for (size_t w = 0; w < weight_names_.size(); ++w) {
    const bool rejected = w < reports.size() && reports[w].outcome == Outcome::kRejected;
    if (rejected == delivered[w]) {
      return absl::InternalError(
          absl::StrCat("weight \"", weight_names_[w], "\" was ",
                       rejected ? "rejected but delivered" : "not delivered"));
    }
  }
  for (const TensorReport& report : reports) {
    for (const auto& [name, digest] : report.packed_digests) {
      auto it = arrived.find(name);
      if (it == arrived.end() || it->second != digest) {
        return absl::DataLossError(absl::StrCat("result tensor \"", name,
                                                "\": the report's digest ", digest.Hex(),
                                                " is not the delivered tensor's"));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<JobAnswer> ResultCollector::Finish() {
  if (!final_) {
    return absl::UnavailableError("the call ended without Final: the server went away");
  }
  for (std::unique_ptr<Incoming>& incoming : incoming_) {
    if (absl::Status status = incoming->assembler->Finish(); !status.ok()) {
      return absl::DataLossError(absl::StrCat("result of the server: ", status.message()));
    }
    answer_.tensors.push_back(
        {incoming->weight, std::move(incoming->decls[0]), std::move(incoming->buffer)});
  }
  if (answer_.final.report.tensors.empty()) answer_.final.report.tensors = std::move(reports_);
  QUANTD_RETURN_IF_ERROR(CheckAgainstReport());
  return std::move(answer_);
}

}  // namespace quantd::client
