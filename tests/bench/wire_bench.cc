// One client stream against a server on loopback: the same bytes through an empty handler and
// through Quantize RTN, with the same transport settings. run.py starts the servers and reads their
// CPU time.
//
//   wire_bench sink
//       serves Quantize without work on a free port, which it prints: reads, then answers with as
//       many bytes as an int4 g128 result has
//   wire_bench send TARGET rtn|gptq|empty M N REPEATS
//       one M x N F32 weight per call (gptq: and the triangle of H), calls one after another;
//       prints seconds, bytes received and the predicted peak bytes of each call
//   wire_bench unread TARGET STREAMS M N
//       opens streams that send a whole job and never read the answer; prints "ready", then waits
//       for stdin to close
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/server.h"
#include "proto/wire/chunker.h"
#include "proto/wire/codec.h"
#include "quantd/v1/quantization_service.grpc.pb.h"
#include "server/lifecycle/malloc_tuning.h"
#include "server/transport.h"

namespace quantd {
namespace {

class SinkReactor final
    : public grpc::ServerBidiReactor<v1::QuantizeRequest, v1::QuantizeResponse> {
 public:
  SinkReactor() { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    if (request_.has_header()) {
      const auto& shape = request_.header().tensors(0).shape();
      left_ = shape[0] * shape[1] / 2 + shape[0] * shape[1] / 128 * 2;
    }
    if (request_.has_end()) return Write();
    StartRead(&request_);
  }

  void OnWriteDone(bool ok) override {
    if (!ok || final_) return Finish(ok ? grpc::Status::OK : grpc::Status::CANCELLED);
    Write();
  }

  void OnDone() override { delete this; }

 private:
  void Write() {
    final_ = left_ == 0;
    if (final_) {
      response_.mutable_final()->set_outcome(v1::OUTCOME_OK);
    } else {
      const int64_t take = std::min<int64_t>(left_, wire::kChunkBytes);
      response_.mutable_chunk()->mutable_data()->resize(take);
      left_ -= take;
    }
    StartWrite(&response_);
  }

  v1::QuantizeRequest request_;
  v1::QuantizeResponse response_;
  int64_t left_ = 0;
  bool final_ = false;
};

class SinkService final : public v1::QuantizationService::CallbackService {
 public:
  grpc::ServerBidiReactor<v1::QuantizeRequest, v1::QuantizeResponse>* Quantize(
      grpc::CallbackServerContext*) override {
    return new SinkReactor;
  }
};

int Sink() {
  ServerOptions options;
  int port = 0;
  grpc::ServerBuilder builder;
  ApplyTransport(options, &builder);
  SinkService service;
  builder.RegisterService(&service);
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::printf("%d\n", port);
  std::fflush(stdout);
  server->Wait();
  return 0;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

enum class Work { kEmpty, kRtn, kGptq };

QuantizeJob BenchJob(Work work, int64_t m, int64_t n) {
  QuantizeJob job;
  job.id = "bench";
  job.spec.method = "rtn";
  job.layout = "compressed-tensors";
  job.tensors = {{"bench.weight", Role::kWeight, DType::kF32, {m, n}, std::nullopt}};
  if (work == Work::kGptq) {
    job.spec.method = "gptq";
    job.spec.solve.solver = Solver::kGptq;
    job.spec.solve.order = Order::kActOrder;
    job.tensors.push_back(
        {"bench.hessian", Role::kHessian, DType::kF32, {n * (n + 1) / 2}, std::nullopt});
  }
  return job;
}

// The upper triangle of an AR(1) second moment, row by row.
std::vector<float> Triangle(int64_t n) {
  std::vector<float> decay(n), h;
  decay[0] = 1.0f;
  for (int64_t i = 1; i < n; ++i) decay[i] = decay[i - 1] * 0.9f;
  h.reserve(n * (n + 1) / 2);
  for (int64_t i = 0; i < n; ++i) h.insert(h.end(), decay.begin(), decay.end() - i);
  return h;
}

using Stream = grpc::ClientReaderWriter<v1::QuantizeRequest, v1::QuantizeResponse>;

bool SendTensor(Stream* stream, uint32_t index, const std::vector<float>& values) {
  v1::QuantizeRequest request;
  wire::Chunker chunker(index,
                        {reinterpret_cast<const std::byte*>(values.data()), values.size() * 4});
  while (auto chunk = chunker.Next()) {
    wire::PutFrame(*std::move(chunk), &request);
    if (!stream->Write(request)) return false;
  }
  return true;
}

// The same bytes without CRC: what the transport alone costs.
bool SendUnchecked(Stream* stream, const std::vector<float>& values) {
  v1::QuantizeRequest request;
  const char* data = reinterpret_cast<const char*>(values.data());
  const size_t size = values.size() * 4;
  for (size_t at = 0; at < size; at += wire::kChunkBytes) {
    v1::Chunk* chunk = request.mutable_chunk();
    chunk->set_offset(at);
    chunk->mutable_data()->assign(data + at, std::min<size_t>(wire::kChunkBytes, size - at));
    if (!stream->Write(request)) return false;
  }
  return true;
}

// Header, chunks, End.
bool SendJob(Stream* stream, Work work, int64_t m, int64_t n, const std::vector<float>& w,
             const std::vector<float>& h) {
  v1::QuantizeRequest request;
  wire::Put(BenchJob(work, m, n), request.mutable_header());
  if (!stream->Write(request)) return false;
  if (work == Work::kEmpty) {
    if (!SendUnchecked(stream, w)) return false;
  } else if (!SendTensor(stream, 0, w) || (work == Work::kGptq && !SendTensor(stream, 1, h))) {
    return false;
  }
  request.mutable_end();
  return stream->Write(request) && stream->WritesDone();
}

std::vector<float> Weight(int64_t m, int64_t n) {
  std::vector<float> w(m * n);
  uint32_t state = 1;
  for (float& v : w) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-33f;
  }
  return w;
}

int Send(const std::string& target, Work work, int64_t m, int64_t n, int repeats) {
  const std::vector<float> w = Weight(m, n);
  const std::vector<float> h = work == Work::kGptq ? Triangle(n) : std::vector<float>();
  auto stub = v1::QuantizationService::NewStub(Connect(target));
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(10));
    auto stream = stub->Quantize(&context);
    if (!SendJob(stream.get(), work, m, n, w, h)) std::fprintf(stderr, "write failed\n");
    v1::QuantizeResponse response;
    bool final = false;
    uint64_t received = 0, predicted = 0;
    while (stream->Read(&response)) {
      final |= response.has_final();
      received += response.chunk().data().size();
      if (response.has_accepted()) predicted = response.accepted().predicted_peak_bytes();
    }
    const grpc::Status status = stream->Finish();
    if (!status.ok() || !final) {
      std::fprintf(stderr, "call failed: %s\n", status.error_message().c_str());
      return 1;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%.6f %llu %llu\n", took.count(), static_cast<unsigned long long>(received),
                static_cast<unsigned long long>(predicted));
    std::fflush(stdout);
  }
  return 0;
}

int Unread(const std::string& target, int streams, int64_t m, int64_t n) {
  const std::vector<float> w = Weight(m, n);
  auto stub = v1::QuantizationService::NewStub(Connect(target));
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<Stream>> calls;
  std::vector<std::thread> senders;
  for (int i = 0; i < streams; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    calls.push_back(stub->Quantize(contexts.back().get()));
  }
  for (auto& call : calls) {
    senders.emplace_back([&] { SendJob(call.get(), Work::kRtn, m, n, w, {}); });
  }
  std::printf("ready\n");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);
  for (auto& context : contexts) context->TryCancel();
  for (std::thread& t : senders) t.join();
  for (auto& call : calls) call->Finish();
  return 0;
}

int Main(int argc, char** argv) {
  TuneMalloc();
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "sink") return Sink();
  if (mode == "send" && argc == 7) {
    const std::string name = argv[3];
    const Work work = name == "rtn" ? Work::kRtn : name == "gptq" ? Work::kGptq : Work::kEmpty;
    return Send(argv[2], work, std::atoll(argv[4]), std::atoll(argv[5]), std::atoi(argv[6]));
  }
  if (mode == "unread" && argc == 6) {
    return Unread(argv[2], std::atoi(argv[3]), std::atoll(argv[4]), std::atoll(argv[5]));
  }
  std::fprintf(stderr, "usage: see the head of wire_bench.cc\n");
  return 2;
}

}  // namespace
}  // namespace quantd

int main(int argc, char** argv) { return quantd::Main(argc, argv); }
