// AQLM through the front door: codes and codebooks out, states on the way, codes in.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "proto/wire/chunker.h"
#include "proto/wire/codec.h"
#include "tests/api/api_fixture.h"
#include "workers/methods/method.h"

namespace quantd::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kRows = 128;
constexpr int64_t kCols = 128;
constexpr int64_t kTokens = 300;

// X [kTokens, kCols] whose neighbouring columns go together.
Upload MakeActivations() {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(kTokens * kCols);
  for (int64_t t = 0; t < kTokens; ++t) {
    float last = 0;
    for (int64_t j = 0; j < kCols; ++j) {
      last = 0.8f * last + normal(random);
      x[t * kCols + j] = last;
    }
  }
  Upload upload;
  upload.decl.set_name("x");
  upload.decl.set_role(v1::ROLE_ACTIVATIONS);
  upload.decl.set_dtype(v1::DTYPE_F32);
  upload.decl.add_shape(kTokens);
  upload.decl.add_shape(kCols);
  upload.bytes.assign(reinterpret_cast<const char*>(x.data()), x.size() * sizeof(float));
  return upload;
}

double MeanSquareError(const std::string& want, const std::string& got) {
  double sum = 0;
  for (size_t i = 0; i < want.size(); i += sizeof(float)) {
    float a = 0, b = 0;
    std::memcpy(&a, want.data() + i, sizeof a);
    std::memcpy(&b, got.data() + i, sizeof b);
    sum += (static_cast<double>(a) - b) * (static_cast<double>(a) - b);
  }
  return sum / static_cast<double>(want.size() / sizeof(float));
}

class AdditiveApiTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    Start();
  }

  // 2x6: quickly found.
  v1::QuantizeHeader HeaderOf(const std::string& id, const std::vector<Upload>& uploads) const {
    v1::QuantizeHeader header = MakeHeader(id, uploads);
    Spec spec = (*FindMethod("aqlm"))->defaults();
    spec.levels.codebook_bits = 6;
    spec.fit.iterations = 10;
    spec.fit.refine_rounds = 0;
    wire::Put(spec, header.mutable_spec());
    header.set_layout(v1::LAYOUT_AQLM);
    return header;
  }

  // The bytes of the first whole state that a call sends; the call is then cancelled.
  // `first_round`: of the first progress that names one.
  std::string FirstState(const v1::QuantizeHeader& header, const std::vector<Upload>& uploads,
                         uint32_t* first_round) {
    const auto context = NewContext();
    const auto stream = stub().Quantize(context.get());
    stream->Write(HeaderMessage(header));
    for (size_t i = 0; i < uploads.size(); ++i) {
      stream->Write(ChunkMessage(static_cast<uint32_t>(i), 0, uploads[i].bytes));
    }
    stream->Write(EndMessage());
    stream->WritesDone();
    std::string state;
    v1::QuantizeResponse message;
    *first_round = 0;
    while (stream->Read(&message)) {
      if (message.has_progress() && message.progress().has_round() && *first_round == 0) {
        *first_round = message.progress().round().round();
      }
      if (!message.has_state()) continue;
      const v1::JobState& piece = message.state();
      EXPECT_EQ(piece.offset(), state.size());
      EXPECT_EQ(piece.crc32c(),
                wire::Crc32c({reinterpret_cast<const std::byte*>(piece.data().data()),
                              piece.data().size()}));
      state += piece.data();
      if (state.size() == piece.total_bytes()) break;
    }
    context->TryCancel();
    while (stream->Read(&message)) continue;
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
    return state;
  }

  const Upload weight_ = MakeWeight("w.weight", kRows, kCols, 9);
  const Upload x_ = MakeActivations();
};

TEST_F(AdditiveApiTest, CodesCodebooksAndScalesDecodeToWhatTheReportSays) {
  const std::vector<Upload> uploads = {weight_, x_};
  const CallResult result = Run(HeaderOf("aqlm", uploads), uploads);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_EQ(result.reports.size(), 1u);
  const v1::TensorReport& report = result.reports[0];
  EXPECT_EQ(report.outcome(), v1::OUTCOME_OK) << report.reason();
  EXPECT_DOUBLE_EQ(report.code_bits_per_weight(), 1.5);
  EXPECT_LT(report.error().output_relative_error(), report.rtn_baseline().output_relative_error());
  ASSERT_EQ(result.tensors.size(), 3u);
  std::vector<std::string> names;
  for (const v1::ResultTensor& t : result.tensors) names.push_back(t.decl().name());
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("w.codes", "w.codebooks", "w.scales"));
  const std::vector<std::string> dense = Dequantize(v1::LAYOUT_AQLM, {weight_}, result);
  const double error = MeanSquareError(weight_.bytes, dense[0]), told = report.error().weight_mse();
  EXPECT_NEAR(error, told, 1e-4 * told);
}

TEST_F(AdditiveApiTest, GivenCodebooksAreNeededWhereTheyAreAskedFor) {
  const std::vector<Upload> uploads = {weight_, x_};
  v1::QuantizeHeader header = HeaderOf("given", uploads);
  header.mutable_spec()->mutable_fit()->set_kind(v1::FIT_KIND_GIVEN);
  const CallResult result = Send({HeaderMessage(header)});
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(result.status.error_message(), HasSubstr("CODEBOOKS tensor for 'w.weight'"));
}

TEST_F(AdditiveApiTest, CodebooksComeBackAsTheyWereGiven) {
  const std::vector<Upload> first_uploads = {weight_, x_};
  const CallResult first = Run(HeaderOf("first", first_uploads), first_uploads);
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  std::vector<Upload> uploads = {weight_, x_};
  for (size_t i = 0; i < first.tensors.size(); ++i) {
    Upload part = {first.tensors[i].decl(), first.bytes[i]};
    const std::string& name = part.decl.name();
    part.decl.set_role(name == "w.codes"    ? v1::ROLE_CODES
                       : name == "w.scales" ? v1::ROLE_SCALES
                                            : v1::ROLE_CODEBOOKS);
    part.decl.clear_digest();
    if (name == "w.scales") part.decl.mutable_shape()->Truncate(1);
    uploads.push_back(part);
  }
  v1::QuantizeHeader header = HeaderOf("second", uploads);
  header.mutable_spec()->mutable_fit()->set_kind(v1::FIT_KIND_GIVEN);
  header.mutable_spec()->mutable_solve()->set_rounds(0);
  const CallResult second = Run(header, uploads);
  ASSERT_TRUE(second.status.ok()) << second.status.error_message();
  EXPECT_EQ(second.bytes, first.bytes);
}

// A job that would go on for minutes is left after its first state, and goes on from there.
TEST_F(AdditiveApiTest, AStateIsSentAndTakenUp) {
  std::vector<Upload> uploads = {weight_, x_};
  v1::QuantizeHeader header = HeaderOf("long", uploads);
  header.mutable_spec()->mutable_solve()->set_rounds(10000);
  header.mutable_spec()->mutable_solve()->set_tolerance(0);
  header.mutable_spec()->mutable_solve()->set_beam(4);
  header.set_checkpoint_seconds(1);
  uint32_t round = 0, round_after = 0;
  Upload state;
  state.bytes = FirstState(header, uploads, &round);
  ASSERT_FALSE(state.bytes.empty());
  state.decl.set_name("state");
  state.decl.set_role(v1::ROLE_CHECKPOINT);
  state.decl.set_dtype(v1::DTYPE_U8);
  state.decl.add_shape(static_cast<int64_t>(state.bytes.size()));
  *header.add_tensors() = state.decl;

  std::vector<Upload> other = {MakeWeight("w.weight", kRows, kCols, 10), x_, state};
  const CallResult refused = Run(header, other);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("belongs to another request"));

  other = {weight_, x_, state};
  other[2].bytes[100] = static_cast<char>(~other[2].bytes[100]);
  const CallResult damaged = Run(header, other);
  EXPECT_EQ(damaged.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(damaged.status.error_message(), HasSubstr("'state': CHECKPOINT is damaged"));

  uploads.push_back(state);
  EXPECT_FALSE(FirstState(header, uploads, &round_after).empty());
  EXPECT_GT(round_after, round);
}

}  // namespace
}  // namespace quantd::testing
