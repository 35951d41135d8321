#include "tests/api/api_fixture.h"

#include <cstring>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "proto/wire/chunker.h"
#include "server/rpc/status.h"
#include "workers/linalg/blas.h"

namespace quantd::testing {
namespace {

constexpr int64_t kNoPushback = -1000000;

void Take(v1::QuantizeResponse message, CallResult* result) {
  result->final_was_last = false;
  switch (message.frame_case()) {
    case v1::QuantizeResponse::kAccepted:
      result->accepted.push_back(message.accepted());
      break;
    case v1::QuantizeResponse::kTensor:
      EXPECT_EQ(message.tensor().index(), result->tensors.size());
      result->tensors.push_back(message.tensor());
      result->bytes.emplace_back();
      break;
    case v1::QuantizeResponse::kChunk: {
      const v1::Chunk& chunk = message.chunk();
      ASSERT_LT(chunk.tensor(), result->bytes.size());
      std::string& bytes = result->bytes[chunk.tensor()];
      EXPECT_EQ(chunk.offset(), bytes.size());
      bytes += chunk.data();
      break;
    }
    case v1::QuantizeResponse::kTensorReport:
      result->reports.push_back(message.tensor_report());
      break;
    case v1::QuantizeResponse::kFinal:
      result->finals.push_back(message.final());
      result->final_was_last = true;
      break;
    default:
      break;
  }
}

}  // namespace

int64_t CallResult::pushback_ms() const {
  const auto it = trailers.find(kPushbackKey);
  int64_t value = 0;
  return it != trailers.end() && absl::SimpleAtoi(it->second, &value) ? value : kNoPushback;
}

Upload MakeWeight(const std::string& name, int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.02f);
  std::vector<float> values(rows * cols);
  for (float& value : values) value = normal(random);
  for (size_t i = 0; i < values.size(); i += 997) values[i] *= 8;
  Upload upload;
  upload.decl.set_name(name);
  upload.decl.set_role(v1::ROLE_WEIGHT);
  upload.decl.set_dtype(v1::DTYPE_F32);
  upload.decl.add_shape(rows);
  upload.decl.add_shape(cols);
  upload.bytes.resize(values.size() * sizeof(float));
  std::memcpy(upload.bytes.data(), values.data(), upload.bytes.size());
  return upload;
}

v1::QuantizeHeader MakeHeader(const std::string& job_id, const std::vector<Upload>& uploads) {
  v1::QuantizeHeader header;
  header.set_job_id(job_id);
  for (const Upload& upload : uploads) *header.add_tensors() = upload.decl;
  header.mutable_spec()->mutable_rtn();
  header.set_layout(v1::LAYOUT_COMPRESSED_TENSORS);
  return header;
}

v1::QuantizeRequest ChunkMessage(uint32_t tensor, uint64_t offset, const std::string& data) {
  v1::QuantizeRequest message;
  v1::Chunk* chunk = message.mutable_chunk();
  chunk->set_tensor(tensor);
  chunk->set_offset(offset);
  chunk->set_data(data);
  chunk->set_crc32c(wire::Crc32c({reinterpret_cast<const std::byte*>(data.data()), data.size()}));
  return message;
}

v1::QuantizeRequest HeaderMessage(const v1::QuantizeHeader& header) {
  v1::QuantizeRequest message;
  *message.mutable_header() = header;
  return message;
}

v1::QuantizeRequest EndMessage() {
  v1::QuantizeRequest message;
  message.mutable_end();
  return message;
}

void ApiTest::SetUp() {
  ASSERT_TRUE(InitBlas().ok());
  config_.options.listen.clear();
  config_.options.budget_bytes = uint64_t{64} << 20;
  config_.options.threads = 2;
  config_.events = &events_;
}

void ApiTest::Start() {
  auto server = QuantdServer::Start(config_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  channel_ = server_->InProcessChannel();
  stub_ = v1::QuantizationService::NewStub(channel_);
}

std::unique_ptr<v1::QuantizationService::Stub> ApiTest::StartOnPort() {
  config_.options.listen = {"127.0.0.1:0"};
  Start();
  if (server_ == nullptr) return nullptr;
  return v1::QuantizationService::NewStub(grpc::CreateChannel(
      absl::StrCat("127.0.0.1:", server_->ports()[0]), grpc::InsecureChannelCredentials()));
}

void ApiTest::Stop() {
  stub_.reset();
  channel_.reset();
  server_.reset();
}

void ApiTest::TearDown() {
  if (server_ == nullptr) return;
  if (expect_service_after_) {
    const CallResult normal = RunSmallJob("normal-job-afterwards");
    EXPECT_TRUE(normal.status.ok()) << normal.status.error_message();
    EXPECT_EQ(normal.finals.size(), 1u);
  }
  EXPECT_TRUE(Eventually([this] { return events_.reserved_bytes() == 0; }));
  EXPECT_TRUE(Eventually([this] { return server_->running_jobs() == 0; }));
  Stop();
}

std::unique_ptr<grpc::ClientContext> ApiTest::NewContext() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
  return context;
}

CallResult ApiTest::Drain(Stream* stream, grpc::ClientContext* context) {
  CallResult result;
  v1::QuantizeResponse message;
  while (stream->Read(&message)) Take(std::move(message), &result);
  result.status = stream->Finish();
  for (const auto& [key, value] : context->GetServerTrailingMetadata()) {
    result.trailers.emplace(std::string(key.data(), key.size()),
                            std::string(value.data(), value.size()));
  }
  return result;
}

CallResult ApiTest::Run(const v1::QuantizeHeader& header, const std::vector<Upload>& uploads,
                        uint64_t chunk_bytes, grpc::ClientContext* context,
                        v1::QuantizationService::Stub* stub) {
  std::unique_ptr<grpc::ClientContext> own;
  if (context == nullptr) {
    own = NewContext();
    context = own.get();
  }
  const auto stream = (stub == nullptr ? stub_.get() : stub)->Quantize(context);
  bool sending = stream->Write(HeaderMessage(header));
  for (size_t i = 0; i < uploads.size(); ++i) {
    const std::string& bytes = uploads[i].bytes;
    for (uint64_t at = 0; at < bytes.size() && sending; at += chunk_bytes) {
      sending =
          stream->Write(ChunkMessage(static_cast<uint32_t>(i), at, bytes.substr(at, chunk_bytes)));
    }
  }
  if (sending) stream->Write(EndMessage());
  stream->WritesDone();
  return Drain(stream.get(), context);
}

CallResult ApiTest::Send(const std::vector<v1::QuantizeRequest>& messages) {
  const auto context = NewContext();
  const auto stream = stub_->Quantize(context.get());
  for (const v1::QuantizeRequest& message : messages) {
    if (!stream->Write(message)) break;
  }
  return Drain(stream.get(), context.get());
}

CallResult ApiTest::SendAndClose(const std::vector<v1::QuantizeRequest>& messages) {
  const auto context = NewContext();
  const auto stream = stub_->Quantize(context.get());
  for (const v1::QuantizeRequest& message : messages) {
    if (!stream->Write(message)) break;
  }
  stream->WritesDone();
  return Drain(stream.get(), context.get());
}

CallResult ApiTest::RunSmallJob(const std::string& job_id) {
  const std::vector<Upload> uploads = {MakeWeight("w.weight", 16, 128, 1)};
  return Run(MakeHeader(job_id, uploads), uploads);
}

std::vector<std::string> ApiTest::Dequantize(v1::Layout layout, const std::vector<Upload>& weights,
                                             const CallResult& packed) {
  v1::DequantizeRequest request;
  v1::DequantizeHeader* header = request.mutable_header();
  header->set_job_id("unpack");
  header->set_layout(layout);
  for (size_t w = 0; w < weights.size(); ++w) {
    auto* weight = header->add_weights();
    weight->set_name(weights[w].decl.name());
    weight->set_rows(weights[w].decl.shape(0));
    weight->set_cols(weights[w].decl.shape(1));
    *weight->mutable_spec() = packed.reports[w].spec();
  }
  for (const v1::ResultTensor& tensor : packed.tensors) *header->add_tensors() = tensor.decl();

  const auto context = NewContext();
  const auto stream = stub().Dequantize(context.get());
  stream->Write(request);
  for (size_t i = 0; i < packed.bytes.size(); ++i) {
    if (packed.bytes[i].empty()) continue;
    *request.mutable_chunk() = ChunkMessage(static_cast<uint32_t>(i), 0, packed.bytes[i]).chunk();
    stream->Write(request);
  }
  request.mutable_end();
  stream->Write(request);
  stream->WritesDone();
  std::vector<std::string> dense(weights.size());
  v1::DequantizeResponse response;
  bool final_seen = false;
  while (stream->Read(&response)) {
    if (response.has_chunk()) dense[response.chunk().tensor()] += response.chunk().data();
    final_seen = response.has_final();
  }
  const grpc::Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(final_seen);
  return dense;
}

bool ApiTest::Eventually(const std::function<bool()>& condition) {
  const absl::Time limit = absl::Now() + absl::Seconds(10);
  while (!condition()) {
    if (absl::Now() > limit) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

}  // namespace quantd::testing
