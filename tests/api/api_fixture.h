// A real server in this process and a plain client for it: what every API test stands on.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "quantd/v1/quantization_service.grpc.pb.h"
#include "server/server.h"
#include "tests/support/event_recorder.h"

namespace quantd::testing {

// What came back from one call.
struct CallResult {
  grpc::Status status;
  std::vector<v1::Accepted> accepted;
  std::vector<v1::ResultTensor> tensors;
  std::vector<std::string> bytes;  // of `tensors`, by index
  std::vector<v1::TensorReport> reports;
  std::vector<v1::Final> finals;
  bool final_was_last = false;
  std::multimap<std::string, std::string> trailers;

  // Milliseconds, or -1000000 without the key.
  int64_t pushback_ms() const;
};

// One weight's declaration and bytes.
struct Upload {
  v1::TensorDecl decl;
  std::string bytes;
};

// Seeded normal values with a few outliers, F32 [rows, cols].
Upload MakeWeight(const std::string& name, int64_t rows, int64_t cols, uint32_t seed);

// RTN int4 g128 to compressed-tensors.
v1::QuantizeHeader MakeHeader(const std::string& job_id, const std::vector<Upload>& uploads);

v1::QuantizeRequest ChunkMessage(uint32_t tensor, uint64_t offset, const std::string& data);
v1::QuantizeRequest HeaderMessage(const v1::QuantizeHeader& header);
v1::QuantizeRequest EndMessage();

using Stream = grpc::ClientReaderWriter<v1::QuantizeRequest, v1::QuantizeResponse>;

class ApiTest : public ::testing::Test {
 protected:
  void SetUp() override;
  // The proof that nothing was left behind: a normal job still succeeds and all memory is given
  // back.
  void TearDown() override;

  // Before Start(): 64 MiB budget, 2 threads, no port.
  QuantdServer::Config config_;
  void Start();
  // The same with a port; the stub's calls come in through it.
  std::unique_ptr<v1::QuantizationService::Stub> StartOnPort();
  void Stop();
  v1::QuantizationService::Stub& stub() { return *stub_; }
  std::shared_ptr<grpc::Channel> channel() { return channel_; }

  // A context with a 30 s deadline, so that a hang is a failure.
  static std::unique_ptr<grpc::ClientContext> NewContext();

  // Sends the header, all chunks and End, and reads to the end.
  CallResult Run(const v1::QuantizeHeader& header, const std::vector<Upload>& uploads,
                 uint64_t chunk_bytes = 1 << 20, grpc::ClientContext* context = nullptr,
                 v1::QuantizationService::Stub* stub = nullptr);
  // Sends these messages and reads until the server ends the call by itself.
  CallResult Send(const std::vector<v1::QuantizeRequest>& messages);
  // The same, with a half-close after the last message.
  CallResult SendAndClose(const std::vector<v1::QuantizeRequest>& messages);
  // Sends the packed tensors of `packed` back, each weight under its report's spec: the dense
  // weights' bytes in F32, in request order. Adds test failures where the call fails.
  std::vector<std::string> Dequantize(v1::Layout layout, const std::vector<Upload>& weights,
                                      const CallResult& packed);
  // Reads what is left of a stream whose writes are done.
  static CallResult Drain(Stream* stream, grpc::ClientContext* context);

  CallResult RunSmallJob(const std::string& job_id);
  // Waits, at most 10 s, until the condition holds.
  static bool Eventually(const std::function<bool()>& condition);

  EventRecorder events_;
  std::unique_ptr<QuantdServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::QuantizationService::Stub> stub_;
  bool expect_service_after_ = true;
};

}  // namespace quantd::testing
