// The happy path: one layer group in, packed tensors, reports and a Final out; and back again.
#include <cmath>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "tests/api/api_fixture.h"

namespace quantd::testing {
namespace {

class QuantizeApiTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    Start();
  }

  // q and k of one layer: they share nothing but the request.
  const std::vector<Upload> uploads_ = {MakeWeight("l.0.q_proj.weight", 64, 256, 7),
                                        MakeWeight("l.0.k_proj.weight", 32, 256, 8)};
};

TEST_F(QuantizeApiTest, AnswersInTheOrderOfTheGrammar) {
  const CallResult result = Run(MakeHeader("job-1", uploads_), uploads_);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_EQ(result.accepted.size(), 1u);
  EXPECT_EQ(result.accepted[0].job_id(), "job-1");
  EXPECT_GT(result.accepted[0].predicted_peak_bytes(), uploads_[0].bytes.size());
  EXPECT_EQ(result.accepted[0].spec().levels().bits(), 4u) << "defaults are written out";
  EXPECT_EQ(result.accepted[0].spec().partition().group_size(), 128u);
  ASSERT_EQ(result.finals.size(), 1u);
  EXPECT_TRUE(result.final_was_last);
  EXPECT_EQ(result.finals[0].outcome(), v1::OUTCOME_OK);
  EXPECT_FALSE(result.finals[0].build_id().empty());
  ASSERT_EQ(result.reports.size(), 2u);
  EXPECT_EQ(result.reports[0].name(), "l.0.q_proj.weight");
  EXPECT_EQ(result.reports[1].name(), "l.0.k_proj.weight");
  EXPECT_EQ(result.reports[0].outcome(), v1::OUTCOME_OK);
  EXPECT_GT(result.reports[0].error().sqnr_db(), 10);
  EXPECT_GE(result.tensors.size(), 4u) << "codes and scales of each weight";
  for (size_t i = 0; i < result.tensors.size(); ++i) {
    uint64_t elements = 1;
    for (const int64_t d : result.tensors[i].decl().shape()) elements *= d;
    EXPECT_GE(result.bytes[i].size(), elements) << result.tensors[i].decl().name();
    EXPECT_EQ(result.tensors[i].decl().role(), v1::ROLE_PACKED);
  }
}

TEST_F(QuantizeApiTest, TheSinkHearsOfTheJobOnce) {
  ASSERT_TRUE(Run(MakeHeader("job-1", uploads_), uploads_).status.ok());
  ASSERT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
  const JobEvent event = events_.jobs()[0];
  EXPECT_EQ(event.job_id, "job-1");
  EXPECT_EQ(event.rpc, "Quantize");
  EXPECT_EQ(event.method, "rtn");
  EXPECT_EQ(event.weights, 64u * 256 + 32 * 256);
  EXPECT_EQ(event.bytes_in, uploads_[0].bytes.size() + uploads_[1].bytes.size());
  EXPECT_GT(event.bytes_out, 0u);
  EXPECT_FALSE(event.peer.empty());
}

TEST_F(QuantizeApiTest, ChunkSizesDoNotChangeTheBytes) {
  const CallResult whole = Run(MakeHeader("a", uploads_), uploads_);
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  for (const uint64_t chunk_bytes : {1000u, 4096u, 65537u}) {
    const CallResult cut = Run(MakeHeader("a", uploads_), uploads_, chunk_bytes);
    ASSERT_TRUE(cut.status.ok()) << cut.status.error_message();
    EXPECT_EQ(cut.bytes, whole.bytes) << chunk_bytes;
  }
}

TEST_F(QuantizeApiTest, ATraceparentIsEchoedAndLogged) {
  const std::string parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const auto context = NewContext();
  context->AddMetadata("traceparent", parent);
  const CallResult result = Run(MakeHeader("t", uploads_), uploads_, 1 << 20, context.get());
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_THAT(result.trailers, ::testing::Contains(::testing::Pair("traceparent", parent)));
  ASSERT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
  EXPECT_EQ(events_.jobs()[0].trace_parent, parent);
}

TEST_F(QuantizeApiTest, AMalformedTraceparentIsDropped) {
  const auto context = NewContext();
  context->AddMetadata("traceparent", "00-zz\"}-01");
  const CallResult result = Run(MakeHeader("t", uploads_), uploads_, 1 << 20, context.get());
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_EQ(result.trailers.count("traceparent"), 0u);
  ASSERT_TRUE(Eventually([this] { return events_.jobs().size() == 1; }));
  EXPECT_EQ(events_.jobs()[0].trace_parent, "");
}

TEST_F(QuantizeApiTest, DequantizeGivesTheWeightBackWithinHalfAStep) {
  const CallResult packed = Run(MakeHeader("pack", uploads_), uploads_);
  ASSERT_TRUE(packed.status.ok()) << packed.status.error_message();
  const std::vector<std::string> dense =
      Dequantize(v1::LAYOUT_COMPRESSED_TENSORS, uploads_, packed);
  ASSERT_EQ(events_.jobs().back().rpc, "Dequantize");
  EXPECT_GT(events_.jobs().back().report.seconds.solve, 0) << "work was done, and is told";
  for (size_t w = 0; w < uploads_.size(); ++w) {
    ASSERT_EQ(dense[w].size(), uploads_[w].bytes.size());
    std::vector<float> want(dense[w].size() / 4);
    std::vector<float> got(want.size());
    std::memcpy(want.data(), uploads_[w].bytes.data(), dense[w].size());
    std::memcpy(got.data(), dense[w].data(), dense[w].size());
    for (size_t group = 0; group < want.size(); group += 128) {
      float largest = 0;
      for (size_t i = group; i < group + 128; ++i) largest = std::max(largest, std::abs(want[i]));
      // s = 2 max / 15; the scale is rounded to F16.
      const float half_step = largest / 15 * 1.01f;
      for (size_t i = group; i < group + 128; ++i) {
        ASSERT_NEAR(got[i], want[i], half_step) << "weight " << w << ", element " << i;
      }
    }
  }
}

TEST_F(ApiTest, EveryTransportGivesTheSameBytes) {
  const std::string socket = absl::StrCat(
      (std::filesystem::temp_directory_path() / "quantd-api-").string(), getpid(), ".sock");
  config_.options.listen = {"127.0.0.1:0", "unix:" + socket};
  Start();
  ASSERT_GT(server_->ports()[0], 0);
  const std::vector<Upload> uploads = {MakeWeight("w.weight", 48, 256, 3)};
  const CallResult direct = Run(MakeHeader("d", uploads), uploads);
  ASSERT_TRUE(direct.status.ok()) << direct.status.error_message();
  for (const std::string& target :
       {absl::StrCat("127.0.0.1:", server_->ports()[0]), "unix:" + socket}) {
    const auto remote = v1::QuantizationService::NewStub(
        grpc::CreateChannel(target, grpc::InsecureChannelCredentials()));
    const CallResult result =
        Run(MakeHeader("r", uploads), uploads, 1 << 20, nullptr, remote.get());
    ASSERT_TRUE(result.status.ok()) << target << ": " << result.status.error_message();
    EXPECT_EQ(result.bytes, direct.bytes) << target;
  }
}

TEST_F(ApiTest, ASecondServerOnTheSamePortFails) {
  config_.options.listen = {"127.0.0.1:0"};
  Start();
  QuantdServer::Config second = config_;
  second.options.listen = {absl::StrCat("127.0.0.1:", server_->ports()[0])};
  const auto other = QuantdServer::Start(second);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(other.status().message()),
              ::testing::HasSubstr(second.options.listen[0]));
}

}  // namespace
}  // namespace quantd::testing
