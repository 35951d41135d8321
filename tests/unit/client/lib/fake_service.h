// A scripted server for client tests: reads a whole request, then answers as told.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "client/lib/channel.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "proto/wire/chunker.h"
#include "proto/wire/codec.h"
#include "quantd/v1/quantization_service.grpc.pb.h"
#include "workers/core/digest.h"

namespace quantd::client {

inline absl::Span<const std::byte> BytesOf(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// What arrived in one call.
template <typename Header>
struct SeenRequestOf {
  Header header;
  std::map<uint32_t, std::string> tensors;
  bool end = false;
};
using SeenRequest = SeenRequestOf<v1::QuantizeHeader>;
using SeenMeasure = SeenRequestOf<v1::MeasureHeader>;

template <typename Header, typename Stream, typename Request>
SeenRequestOf<Header> ReadRequest(Stream* stream, Request message) {
  SeenRequestOf<Header> seen;
  while (stream->Read(&message)) {
    if (message.has_header()) seen.header = message.header();
    if (message.has_chunk()) seen.tensors[message.chunk().tensor()] += message.chunk().data();
    if (message.has_end()) seen.end = true;
  }
  return seen;
}

class FakeService : public v1::QuantizationService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::QuantizeResponse, v1::QuantizeRequest>;
  // Called with the number of the call (from 1) after the request was read.
  using Script =
      std::function<grpc::Status(int call, const SeenRequest&, grpc::ServerContext*, Stream*)>;

  using MeasureStream = grpc::ServerReaderWriter<v1::MeasureResponse, v1::MeasureRequest>;
  using MeasureScript = std::function<grpc::Status(const SeenMeasure&, MeasureStream*)>;
  using EstimateScript =
      std::function<grpc::Status(const v1::EstimateRequest&, v1::EstimateResponse*)>;

  explicit FakeService(Script script) : script_(std::move(script)) { Start(); }
  explicit FakeService(MeasureScript script) : measure_script_(std::move(script)) { Start(); }
  explicit FakeService(EstimateScript script) : estimate_script_(std::move(script)) { Start(); }
  ~FakeService() override { server_->Shutdown(); }

  std::unique_ptr<Connection> Connect() {
    return std::make_unique<Connection>(std::vector<std::shared_ptr<grpc::Channel>>{
        server_->InProcessChannel(grpc::ChannelArguments())});
  }
  int calls() const { return calls_; }

  grpc::Status Quantize(grpc::ServerContext* context, Stream* stream) override {
    const int call = ++calls_;
    const auto seen = ReadRequest<v1::QuantizeHeader>(stream, v1::QuantizeRequest());
    // Cancelled on the way: there is nothing to answer to.
    if (!seen.end) return grpc::Status(grpc::StatusCode::CANCELLED, "half a request");
    return script_(call, seen, context, stream);
  }

  grpc::Status Measure(grpc::ServerContext*, MeasureStream* stream) override {
    ++calls_;
    const auto seen = ReadRequest<v1::MeasureHeader>(stream, v1::MeasureRequest());
    if (!seen.end) return grpc::Status(grpc::StatusCode::CANCELLED, "half a request");
    return measure_script_(seen, stream);
  }

  grpc::Status Estimate(grpc::ServerContext*, const v1::EstimateRequest* request,
                        v1::EstimateResponse* response) override {
    ++calls_;
    return estimate_script_(*request, response);
  }

 private:
  void Start() {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }

  Script script_;
  MeasureScript measure_script_;
  EstimateScript estimate_script_;
  std::atomic<int> calls_{0};
  std::unique_ptr<grpc::Server> server_;
};

// The pieces of an honest answer; tests leave some out or damage them.
inline v1::QuantizeResponse AcceptedMessage(const SeenRequest& seen) {
  v1::QuantizeResponse message;
  message.mutable_accepted()->set_job_id(seen.header.job_id());
  *message.mutable_accepted()->mutable_spec() = seen.header.spec();
  return message;
}

inline std::vector<v1::QuantizeResponse> TensorMessages(uint32_t index, uint32_t weight,
                                                        const std::string& name,
                                                        const std::string& bytes) {
  wire::ResultTensorFrame frame;
  frame.index = index;
  frame.weight = weight;
  frame.decl.name = name;
  frame.decl.role = Role::kPacked;
  frame.decl.dtype = DType::kU8;
  frame.decl.shape = {static_cast<int64_t>(bytes.size())};
  frame.decl.digest = DigestOf(BytesOf(bytes));
  std::vector<v1::QuantizeResponse> messages(1);
  wire::PutFrame(wire::ResponseFrame(frame), &messages.back());
  wire::Chunker chunker(index, BytesOf(bytes), 1000);
  while (auto chunk = chunker.Next()) {
    messages.emplace_back();
    wire::PutFrame(wire::ResponseFrame(*std::move(chunk)), &messages.back());
  }
  return messages;
}

// A state of the job in pieces of 1000 bytes.
inline std::vector<v1::QuantizeResponse> StateMessages(const std::string& state) {
  std::vector<v1::QuantizeResponse> messages;
  for (size_t at = 0; at < state.size(); at += 1000) {
    const std::string data = state.substr(at, 1000);
    messages.emplace_back();
    wire::PutFrame(wire::ResponseFrame(
                       wire::JobStateFrame{state.size(), at, data, wire::Crc32c(BytesOf(data))}),
                   &messages.back());
  }
  return messages;
}

inline v1::QuantizeResponse FinalMessage(const std::vector<std::string>& weights) {
  wire::FinalFrame frame;
  frame.outcome = Outcome::kOk;
  frame.build_id = "fake";
  for (const std::string& name : weights) {
    TensorReport report;
    report.name = name;
    report.outcome = Outcome::kOk;
    report.rows = 1;
    report.cols = 4;
    frame.report.tensors.push_back(report);
  }
  v1::QuantizeResponse message;
  wire::PutFrame(wire::ResponseFrame(frame), &message);
  return message;
}

// Accepted, one result tensor per weight (`<module>.packed`, the weight's own bytes), Final.
inline grpc::Status AnswerHonestly(const SeenRequest& seen, FakeService::Stream* stream) {
  stream->Write(AcceptedMessage(seen));
  std::vector<std::string> names;
  for (int i = 0; i < seen.header.tensors_size(); ++i) {
    const std::string& name = seen.header.tensors(i).name();
    auto it = seen.tensors.find(i);
    const std::string bytes = it == seen.tensors.end() ? std::string() : it->second;
    for (const auto& message : TensorMessages(i, i, name + ".packed", bytes))
      stream->Write(message);
    names.push_back(name);
  }
  stream->Write(FinalMessage(names));
  return grpc::Status::OK;
}

// Ends the job as one whose only weight cannot be taken: a report needs no packed tensors.
inline grpc::Status Reject(const SeenRequest& seen, FakeService::Stream* stream) {
  stream->Write(AcceptedMessage(seen));
  wire::FinalFrame final;
  final.outcome = Outcome::kRejected;
  TensorReport report;
  report.name = seen.header.tensors(0).name();
  report.outcome = Outcome::kRejected;
  report.reason = "scripted";
  final.report.tensors = {report};
  v1::QuantizeResponse message;
  wire::PutFrame(wire::ResponseFrame(final), &message);
  stream->Write(message);
  return grpc::Status::OK;
}

}  // namespace quantd::client
