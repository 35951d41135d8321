// Measure over a port: many candidates on one upload, told as Quantize would tell them.
#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/api/api_fixture.h"

namespace quantd::testing {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kCols = 128;
constexpr int64_t kTokens = 256;

struct MeasureResult {
  grpc::Status status;
  std::vector<v1::Accepted> accepted;
  std::vector<v1::CandidateReport> reports;
  std::vector<v1::Final> finals;
  bool final_was_last = false;
};

using MeasureStream = grpc::ClientReaderWriter<v1::MeasureRequest, v1::MeasureResponse>;

v1::QuantizationSpec Rtn(uint32_t bits, uint32_t group = 64) {
  v1::QuantizationSpec spec;
  spec.mutable_rtn();
  spec.mutable_levels()->set_bits(bits);
  spec.mutable_partition()->set_group_size(group);
  return spec;
}

v1::QuantizationSpec Gptq(uint32_t bits) {
  v1::QuantizationSpec spec = Rtn(bits);
  spec.mutable_gptq();
  return spec;
}

// Groups of 128 down the columns: a weight's rows must be a multiple of it.
v1::QuantizationSpec DownColumns() {
  v1::QuantizationSpec spec = Rtn(4, 128);
  spec.mutable_partition()->set_axis(v1::GROUP_AXIS_IN);
  return spec;
}

v1::MeasureHeader HeaderOf(const std::vector<Upload>& uploads,
                           const std::vector<v1::QuantizationSpec>& candidates) {
  v1::MeasureHeader header;
  header.set_job_id("frontier");
  for (const Upload& upload : uploads) *header.add_tensors() = upload.decl;
  for (const v1::QuantizationSpec& spec : candidates) *header.add_candidates() = spec;
  header.set_layout(v1::LAYOUT_PLAIN);
  return header;
}

MeasureResult ReadAll(MeasureStream* stream) {
  MeasureResult result;
  v1::MeasureResponse message;
  while (stream->Read(&message)) {
    result.final_was_last = message.has_final();
    if (message.has_accepted()) result.accepted.push_back(message.accepted());
    if (message.has_candidate_report()) result.reports.push_back(message.candidate_report());
    if (message.has_final()) result.finals.push_back(message.final());
  }
  result.status = stream->Finish();
  return result;
}

void SendAll(MeasureStream* stream, const v1::MeasureHeader& header,
             const std::vector<Upload>& uploads) {
  v1::MeasureRequest message;
  *message.mutable_header() = header;
  bool sending = stream->Write(message);
  for (size_t i = 0; i < uploads.size() && sending; ++i) {
    const std::string& bytes = uploads[i].bytes;
    for (uint64_t at = 0; at < bytes.size() && sending; at += 1 << 20) {
      *message.mutable_chunk() =
          ChunkMessage(static_cast<uint32_t>(i), at, bytes.substr(at, 1 << 20)).chunk();
      sending = stream->Write(message);
    }
  }
  message.mutable_end();
  if (sending) stream->Write(message);
  stream->WritesDone();
}

class MeasureApiTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    remote_ = StartOnPort();
    ASSERT_NE(remote_, nullptr);
    // Any values will do as inputs of the layer.
    x_ = MakeWeight("inputs", kTokens, kCols, 3);
    x_.decl.set_role(v1::ROLE_ACTIVATIONS);
  }

  MeasureResult Measure(const v1::MeasureHeader& header, const std::vector<Upload>& uploads) {
    const auto context = NewContext();
    const auto stream = remote_->Measure(context.get());
    SendAll(stream.get(), header, uploads);
    return ReadAll(stream.get());
  }

  std::vector<Upload> WithInputs() const { return {uploads_[0], uploads_[1], x_}; }

  const std::vector<Upload> uploads_ = {MakeWeight("l.0.q_proj.weight", 128, kCols, 7),
                                        MakeWeight("l.0.k_proj.weight", 64, kCols, 8)};
  Upload x_;
  std::unique_ptr<v1::QuantizationService::Stub> remote_;
};

TEST_F(MeasureApiTest, AnswersInTheOrderOfTheGrammar) {
  const MeasureResult result = Measure(HeaderOf(WithInputs(), {Rtn(4), Gptq(3)}), WithInputs());
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_EQ(result.accepted.size(), 1u);
  EXPECT_EQ(result.accepted[0].job_id(), "frontier");
  EXPECT_EQ(result.accepted[0].spec().levels().bits(), 4u) << "the first candidate's";
  ASSERT_EQ(result.reports.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(result.reports[i].candidate(), i % 2);
    EXPECT_EQ(result.reports[i].report().name(), uploads_[i / 2].decl.name());
    EXPECT_EQ(result.reports[i].report().outcome(), v1::OUTCOME_OK);
  }
  ASSERT_EQ(result.finals.size(), 1u);
  EXPECT_TRUE(result.final_was_last);
  EXPECT_EQ(result.finals[0].outcome(), v1::OUTCOME_OK);
  EXPECT_EQ(result.finals[0].report().tensors_size(), 0);
  EXPECT_EQ(result.finals[0].report().calibration_tokens(), kTokens);
}

TEST_F(MeasureApiTest, FiguresAreThoseOfAQuantizeCall) {
  const std::vector<Upload> uploads = WithInputs();
  const std::vector<v1::QuantizationSpec> candidates = {Gptq(4), Rtn(3), Gptq(2)};
  const MeasureResult measured = Measure(HeaderOf(uploads, candidates), uploads);
  ASSERT_TRUE(measured.status.ok()) << measured.status.error_message();
  ASSERT_EQ(measured.reports.size(), 6u);
  for (size_t c = 0; c < candidates.size(); ++c) {
    v1::QuantizeHeader header = MakeHeader("later", uploads);
    *header.mutable_spec() = candidates[c];
    header.set_layout(v1::LAYOUT_PLAIN);
    const CallResult quantized = Run(header, uploads);
    ASSERT_TRUE(quantized.status.ok()) << quantized.status.error_message();
    for (size_t w = 0; w < 2; ++w) {
      v1::TensorReport later = quantized.reports[w];
      v1::TensorReport told = measured.reports[3 * w + c].report();
      EXPECT_FALSE(told.has_rtn_baseline());
      EXPECT_EQ(told.packed_size(), 0);
      later.clear_rtn_baseline();
      later.clear_packed();
      later.clear_seconds();
      told.clear_seconds();
      EXPECT_EQ(told.SerializeAsString(), later.SerializeAsString())
          << told.DebugString() << "is not\n"
          << later.DebugString();
    }
  }
}

TEST_F(MeasureApiTest, ASpecThatDoesNotFitOneWeightIsRejectedThereAlone) {
  const MeasureResult result = Measure(HeaderOf(uploads_, {DownColumns(), Rtn(4)}), uploads_);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_EQ(result.reports.size(), 4u);
  EXPECT_EQ(result.reports[0].report().outcome(), v1::OUTCOME_OK);
  EXPECT_EQ(result.reports[1].report().outcome(), v1::OUTCOME_OK);
  EXPECT_EQ(result.reports[2].report().outcome(), v1::OUTCOME_REJECTED);
  EXPECT_THAT(result.reports[2].report().reason(), HasSubstr("rows"));
  EXPECT_EQ(result.reports[3].report().outcome(), v1::OUTCOME_OK);
  EXPECT_EQ(result.finals[0].outcome(), v1::OUTCOME_OK);
}

TEST_F(MeasureApiTest, MissingStatisticsNameTheCandidate) {
  const MeasureResult result = Measure(HeaderOf(uploads_, {Rtn(4), Rtn(3), Gptq(4)}), uploads_);
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(result.status.error_message(), HasSubstr("candidates[2]: "));
  EXPECT_TRUE(result.accepted.empty());
  ASSERT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
  EXPECT_EQ(events_.jobs()[0].rpc, "Measure");
}

TEST_F(MeasureApiTest, BadHeadersNameTheField) {
  MeasureResult result = Measure(HeaderOf(uploads_, {}), uploads_);
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(result.status.error_message(), HasSubstr("candidates: 0"));
  result = Measure(HeaderOf(uploads_, {Rtn(4), Rtn(9)}), uploads_);
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(result.status.error_message(), HasSubstr("candidates[1].levels.bits: 9"));
  const std::vector<v1::QuantizationSpec> many(257, Rtn(4));
  result = Measure(HeaderOf(uploads_, many), uploads_);
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(result.status.error_message(), HasSubstr("257"));
}

TEST_F(MeasureApiTest, TheSinkHearsOfTheJobOnce) {
  ASSERT_TRUE(Measure(HeaderOf(uploads_, {Rtn(4), Rtn(3)}), uploads_).status.ok());
  ASSERT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
  const JobEvent event = events_.jobs()[0];
  EXPECT_EQ(event.job_id, "frontier");
  EXPECT_EQ(event.rpc, "Measure");
  EXPECT_EQ(event.method, "measure");
  EXPECT_EQ(event.layout, "plain");
  EXPECT_EQ(event.weights, 2u * (128 + 64) * kCols);
  EXPECT_EQ(event.bytes_in, uploads_[0].bytes.size() + uploads_[1].bytes.size());
  EXPECT_EQ(event.bytes_out, 0u);
}

TEST_F(MeasureApiTest, CancelWhileCandidatesAreTried) {
  // Shrink searches with a norm that is not 2: many seconds of work if nobody stops it.
  const std::vector<Upload> uploads = {MakeWeight("w.weight", 1024, 1024, 4)};
  std::vector<v1::QuantizationSpec> candidates;
  for (uint32_t bits = 2; bits <= 8; ++bits) {
    candidates.push_back(Rtn(bits));
    candidates.back().mutable_fit()->set_kind(v1::FIT_KIND_SHRINK_SEARCH);
    candidates.back().mutable_fit()->set_norm(2.4);
    candidates.back().mutable_fit()->set_steps(1000);
  }
  const auto context = NewContext();
  const auto stream = remote_->Measure(context.get());
  SendAll(stream.get(), HeaderOf(uploads, candidates), uploads);
  ASSERT_TRUE(Eventually([this] {
    const std::vector<int> busy = events_.busy();
    return !busy.empty() && busy.back() > 0;
  }));
  context->TryCancel();
  const MeasureResult result = ReadAll(stream.get());
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(result.finals.empty());
  ASSERT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
  EXPECT_EQ(events_.jobs()[0].rpc, "Measure");
  EXPECT_TRUE(absl::IsCancelled(events_.jobs()[0].status));
  EXPECT_TRUE(Eventually([this] { return events_.reserved_bytes() == 0; }));
}

TEST_F(MeasureApiTest, EstimateSaysWhatAcceptedWillSay) {
  const std::vector<Upload> uploads = WithInputs();
  v1::EstimateRequest request;
  *request.mutable_measure() = HeaderOf(uploads, {Gptq(3), Rtn(4)});
  v1::EstimateResponse estimate;
  const auto context = NewContext();
  const grpc::Status status = remote_->Estimate(context.get(), request, &estimate);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const MeasureResult result = Measure(request.measure(), uploads);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  const v1::Accepted& accepted = result.accepted[0];
  EXPECT_EQ(accepted.predicted_peak_bytes(), estimate.peak_bytes());
  EXPECT_EQ(accepted.predicted_seconds(), estimate.seconds());
  EXPECT_EQ(accepted.spec().SerializeAsString(), estimate.spec().SerializeAsString());
  EXPECT_TRUE(estimate.spec().has_gptq());
  EXPECT_TRUE(estimate.admissible());
  EXPECT_EQ(estimate.output_bytes(), 0u);
  uint64_t sent = 0;
  for (const Upload& upload : uploads) sent += upload.bytes.size();
  EXPECT_EQ(estimate.input_bytes(), sent);
}

TEST_F(MeasureApiTest, EstimateRefusesWhatMeasureRefuses) {
  v1::EstimateRequest request;
  *request.mutable_measure() = HeaderOf(uploads_, {Rtn(4), Gptq(4)});
  v1::EstimateResponse response;
  const auto context = NewContext();
  const grpc::Status status = remote_->Estimate(context.get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("candidates[1]: "));
}

}  // namespace
}  // namespace quantd::testing
