// Lies and broken rules: each ends the call with a status that names the trouble, and nothing else.
#include <limits>

#include "gmock/gmock.h"
#include "tests/api/api_fixture.h"

namespace quantd::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

class BadRequestTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    Start();
  }

  // The call fails with one of the codes for bad input and its message contains `word`.
  void ExpectInvalid(const CallResult& result, const std::string& word) {
    EXPECT_THAT(result.status.error_code(),
                AnyOf(grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::OUT_OF_RANGE))
        << result.status.error_message();
    EXPECT_THAT(result.status.error_message(), HasSubstr(word));
    EXPECT_TRUE(result.finals.empty());
    EXPECT_TRUE(Eventually([this] { return events_.reserved_bytes() == 0; }));
  }

  CallResult WithShape(std::vector<int64_t> shape) {
    v1::QuantizeHeader header = MakeHeader("lie", {weight_});
    header.mutable_tensors(0)->clear_shape();
    for (const int64_t d : shape) header.mutable_tensors(0)->add_shape(d);
    return Send({HeaderMessage(header), EndMessage()});
  }

  const Upload weight_ = MakeWeight("w.weight", 16, 128, 5);
  const v1::QuantizeHeader header_ = MakeHeader("bad", {weight_});
};

TEST_F(BadRequestTest, ShapesThatOverflow) {
  const int64_t huge = std::numeric_limits<int64_t>::max();
  ExpectInvalid(WithShape({huge, huge}), "w.weight");
  ExpectInvalid(WithShape({int64_t{1} << 40, int64_t{1} << 40}), "w.weight");
  ExpectInvalid(WithShape({int64_t{1} << 32, int64_t{1} << 32}), "w.weight");
}

TEST_F(BadRequestTest, TwoToTheFortyElements) {
  const CallResult result = WithShape({int64_t{1} << 20, int64_t{1} << 20});
  EXPECT_THAT(result.status.error_code(),
              AnyOf(grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::OUT_OF_RANGE,
                    grpc::StatusCode::RESOURCE_EXHAUSTED))
      << result.status.error_message();
  EXPECT_EQ(events_.reserved_bytes(), 0u);
}

TEST_F(BadRequestTest, NegativeAndZeroDimensions) {
  ExpectInvalid(WithShape({-16, 128}), "-16");
  ExpectInvalid(WithShape({16, 0}), "w.weight");
}

TEST_F(BadRequestTest, ShapesThatAreNoMatrix) {
  ExpectInvalid(WithShape({}), "w.weight");
  ExpectInvalid(WithShape({16, 128, 2}), "w.weight");
}

TEST_F(BadRequestTest, UnknownDtypeRoleLayoutAndJobId) {
  v1::QuantizeHeader header = header_;
  header.mutable_tensors(0)->set_dtype(static_cast<v1::DType>(99));
  ExpectInvalid(Send({HeaderMessage(header)}), "99");
  header = header_;
  header.mutable_tensors(0)->set_dtype(v1::DTYPE_UNSPECIFIED);
  ExpectInvalid(Send({HeaderMessage(header)}), "dtype");
  header = header_;
  header.mutable_tensors(0)->set_role(static_cast<v1::Role>(77));
  ExpectInvalid(Send({HeaderMessage(header)}), "77");
  header = header_;
  header.set_layout(static_cast<v1::Layout>(55));
  ExpectInvalid(Send({HeaderMessage(header)}), "layout");
  header = header_;
  header.set_job_id("");
  ExpectInvalid(Send({HeaderMessage(header)}), "job_id");
  header = header_;
  header.set_job_id(std::string(200, 'x'));
  ExpectInvalid(Send({HeaderMessage(header)}), "job_id");
}

TEST_F(BadRequestTest, NoTensorsNoMethodAndDoubledNames) {
  v1::QuantizeHeader header = header_;
  header.clear_tensors();
  ExpectInvalid(Send({HeaderMessage(header)}), "tensor");
  header = header_;
  header.clear_spec();
  ExpectInvalid(Send({HeaderMessage(header)}), "spec");
  header = header_;
  *header.add_tensors() = weight_.decl;
  ExpectInvalid(Send({HeaderMessage(header)}), "w.weight");
}

TEST_F(BadRequestTest, BitsOutOfRangeNameFieldAndValue) {
  v1::QuantizeHeader header = header_;
  header.mutable_spec()->mutable_levels()->set_bits(9);
  const CallResult result = Send({HeaderMessage(header)});
  ExpectInvalid(result, "spec.levels.bits");
  EXPECT_THAT(result.status.error_message(), HasSubstr("9"));
}

TEST_F(BadRequestTest, BytesShort) {
  ExpectInvalid(Send({HeaderMessage(header_), ChunkMessage(0, 0, weight_.bytes.substr(0, 1000)),
                      EndMessage()}),
                "w.weight");
}

TEST_F(BadRequestTest, BytesOver) {
  ExpectInvalid(
      Send({HeaderMessage(header_), ChunkMessage(0, 0, weight_.bytes + "more"), EndMessage()}),
      "w.weight");
  ExpectInvalid(Send({HeaderMessage(header_), ChunkMessage(0, 0, weight_.bytes),
                      ChunkMessage(0, weight_.bytes.size(), "more"), EndMessage()}),
                "w.weight");
}

TEST_F(BadRequestTest, GapsAndDuplicates) {
  const std::string half = weight_.bytes.substr(0, 4096);
  const v1::QuantizeRequest header = HeaderMessage(header_);
  ExpectInvalid(Send({header, ChunkMessage(0, 0, half), ChunkMessage(0, 5000, half), EndMessage()}),
                "5000");
  ExpectInvalid(Send({header, ChunkMessage(0, 0, half), ChunkMessage(0, 0, half), EndMessage()}),
                "offset");
  const uint64_t end_of_time = std::numeric_limits<uint64_t>::max();
  ExpectInvalid(Send({header, ChunkMessage(0, end_of_time, half), EndMessage()}), "offset");
}

TEST_F(BadRequestTest, UnknownTensorAndEmptyChunk) {
  const v1::QuantizeRequest header = HeaderMessage(header_);
  ExpectInvalid(Send({header, ChunkMessage(7, 0, "abcd"), EndMessage()}), "7");
  ExpectInvalid(Send({header, ChunkMessage(0, 0, ""), EndMessage()}), "chunk");
}

TEST_F(BadRequestTest, ADamagedChunkIsDataLoss) {
  v1::QuantizeRequest damaged = ChunkMessage(0, 0, weight_.bytes);
  damaged.mutable_chunk()->set_crc32c(damaged.chunk().crc32c() ^ 1);
  const CallResult result = Send({HeaderMessage(header_), damaged, EndMessage()});
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::DATA_LOSS)
      << result.status.error_message();
}

TEST_F(BadRequestTest, ADigestThatDoesNotMatchIsDataLoss) {
  v1::QuantizeHeader header = header_;
  header.mutable_tensors(0)->set_digest(std::string(16, '\x5a'));
  const CallResult result =
      Send({HeaderMessage(header), ChunkMessage(0, 0, weight_.bytes), EndMessage()});
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::DATA_LOSS)
      << result.status.error_message();
}

TEST_F(BadRequestTest, BrokenGrammar) {
  ExpectInvalid(Send({HeaderMessage(header_), HeaderMessage(header_)}), "second header");
  ExpectInvalid(Send({ChunkMessage(0, 0, weight_.bytes)}), "header");
  ExpectInvalid(Send({EndMessage()}), "header");
  ExpectInvalid(SendAndClose({}), "header");
  ExpectInvalid(SendAndClose({HeaderMessage(header_), ChunkMessage(0, 0, weight_.bytes)}), "End");
  ExpectInvalid(Send({v1::QuantizeRequest()}), "frame");
}

TEST_F(BadRequestTest, GptqWithoutStatisticsIsAFailedPrecondition) {
  v1::QuantizeHeader header = header_;
  header.mutable_spec()->mutable_gptq();
  const CallResult result = Send({HeaderMessage(header)});
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION)
      << result.status.error_message();
}

TEST_F(BadRequestTest, NotANumberIsARejectedWeightNotAStatus) {
  Upload bad = weight_;
  const uint32_t nan = 0x7fc00000;
  bad.bytes.replace(400, 4, reinterpret_cast<const char*>(&nan), 4);
  const CallResult result = Run(MakeHeader("nan", {bad}), {bad});
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_EQ(result.reports.size(), 1u);
  EXPECT_EQ(result.reports[0].outcome(), v1::OUTCOME_REJECTED);
  EXPECT_THAT(result.reports[0].reason(), HasSubstr("100"));
  EXPECT_TRUE(result.tensors.empty());
  EXPECT_EQ(result.finals[0].outcome(), v1::OUTCOME_REJECTED);
}

TEST_F(BadRequestTest, AMessageOverFourMebibytesIsRefused) {
  const CallResult result =
      Send({HeaderMessage(header_), ChunkMessage(0, 0, std::string(5 << 20, 'x'))});
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << result.status.error_message();
}

TEST_F(BadRequestTest, AVeryLongFieldStillGivesAReadableStatus) {
  v1::QuantizeHeader header = header_;
  header.mutable_tensors(0)->set_name(std::string(100000, '%'));
  header.mutable_tensors(0)->set_dtype(v1::DTYPE_UNSPECIFIED);
  const CallResult result = Send({HeaderMessage(header)});
  EXPECT_EQ(result.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_LT(result.status.error_message().size(), 3000u);
}

}  // namespace
}  // namespace quantd::testing
