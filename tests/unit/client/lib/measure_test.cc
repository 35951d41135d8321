// Measure and Estimate from the client's end, against a scripted server.
#include <string>
#include <utility>
#include <vector>

#include "client/lib/job_client.h"
#include "client/lib/queries.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/client/lib/fake_service.h"

namespace quantd::client {
namespace {

using ::testing::HasSubstr;

v1::MeasureResponse Accepted(const SeenMeasure& seen) {
  v1::MeasureResponse message;
  message.mutable_accepted()->set_job_id(seen.header.job_id());
  *message.mutable_accepted()->mutable_spec() = seen.header.candidates(0);
  return message;
}

v1::MeasureResponse Report(int candidate, const std::string& weight) {
  wire::CandidateReportFrame frame;
  frame.report.candidate = candidate;
  frame.report.report.name = weight;
  frame.report.report.outcome = Outcome::kOk;
  frame.report.report.all_in_bits_per_weight = 4.25 + candidate;
  v1::MeasureResponse message;
  wire::PutFrame(wire::ResponseFrame(frame), &message);
  return message;
}

v1::MeasureResponse Final() {
  wire::FinalFrame frame;
  frame.outcome = Outcome::kOk;
  frame.build_id = "fake";
  v1::MeasureResponse message;
  wire::PutFrame(wire::ResponseFrame(frame), &message);
  return message;
}

// Which candidate on which weight, in the order sent.
using Reports = std::vector<std::pair<int, std::string>>;

const Reports& AllInOrder() {
  static const auto* const reports =
      new Reports{{0, "q.weight"}, {1, "q.weight"}, {0, "k.weight"}, {1, "k.weight"}};
  return *reports;
}

class MeasureClientTest : public ::testing::Test {
 protected:
  MeasureClientTest() {
    job_.id = "frontier";
    job_.layout = "plain";
    job_.candidates.resize(2);
    for (Spec& spec : job_.candidates) spec.method = "rtn";
    job_.candidates[1].levels.bits = 3;
    job_.priority = 2;
    Declare("q.weight", Role::kWeight);
    Declare("inputs", Role::kActivations);  // no report is of it
    Declare("k.weight", Role::kWeight);
  }

  void Declare(const std::string& name, Role role) {
    TensorDecl decl;
    decl.name = name;
    decl.role = role;
    decl.dtype = DType::kF32;
    decl.shape = {5, 100};
    job_.tensors.push_back(decl);
  }

  Attempt Run(FakeService::MeasureScript script) {
    FakeService service(std::move(script));
    const std::unique_ptr<Connection> connection = service.Connect();
    JobClient client(connection->channel(), nullptr);
    const std::vector<absl::Span<const std::byte>> bytes(3, BytesOf(tensor_));
    CallOptions options;
    options.chunk_bytes = 999;
    return client.Measure(job_, bytes, options);
  }

  // Accepted, these reports, Final.
  Attempt RunWith(const Reports& reports) {
    return Run([&](const SeenMeasure& seen, FakeService::MeasureStream* stream) {
      stream->Write(Accepted(seen));
      for (const auto& [candidate, weight] : reports) stream->Write(Report(candidate, weight));
      stream->Write(Final());
      return grpc::Status::OK;
    });
  }

  void ExpectInternal(const Reports& reports, const std::string& word) {
    const Attempt attempt = RunWith(reports);
    EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kInternal) << attempt.failure.status;
    EXPECT_THAT(std::string(attempt.failure.status.message()), HasSubstr(word));
  }

  const std::string tensor_ = std::string(2000, '\x11');
  MeasureJob job_;
};

TEST_F(MeasureClientTest, SendsEveryByteAndTakesTheReports) {
  SeenMeasure arrived;
  const Attempt attempt = Run([&](const SeenMeasure& seen, FakeService::MeasureStream* stream) {
    arrived = seen;
    stream->Write(Accepted(seen));
    for (const auto& [candidate, weight] : AllInOrder()) stream->Write(Report(candidate, weight));
    stream->Write(Final());
    return grpc::Status::OK;
  });
  ASSERT_TRUE(attempt.failure.status.ok()) << attempt.failure.status;
  EXPECT_EQ(arrived.header.job_id(), "frontier");
  EXPECT_EQ(arrived.header.tensors_size(), 3);
  ASSERT_EQ(arrived.header.candidates_size(), 2);
  EXPECT_EQ(arrived.header.candidates(1).levels().bits(), 3u);
  EXPECT_EQ(arrived.header.layout(), v1::LAYOUT_PLAIN);
  EXPECT_EQ(arrived.header.priority(), 2);
  for (uint32_t t = 0; t < 3; ++t) EXPECT_EQ(arrived.tensors[t], tensor_);
  const JobAnswer& answer = attempt.answer;
  ASSERT_EQ(answer.candidates.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(answer.candidates[i].candidate, AllInOrder()[i].first);
    EXPECT_EQ(answer.candidates[i].report.name, AllInOrder()[i].second);
    EXPECT_EQ(answer.candidates[i].report.all_in_bits_per_weight, i % 2 == 0 ? 4.25 : 5.25);
  }
  EXPECT_TRUE(answer.tensors.empty());
  EXPECT_EQ(answer.accepted.job_id, "frontier");
  EXPECT_EQ(answer.final.build_id, "fake");
  EXPECT_EQ(answer.sent_bytes, 3 * tensor_.size());
}

TEST_F(MeasureClientTest, MissingAndSurplusReportsAreAnError) {
  Reports reports = AllInOrder();
  reports.pop_back();
  ExpectInternal(reports, "the server reported 3 candidates of 4");
  ExpectInternal({}, "0 candidates of 4");
  reports = AllInOrder();
  reports.emplace_back(2, "k.weight");
  ExpectInternal(reports, "5 candidates of 4");
}

TEST_F(MeasureClientTest, ReportsInAnotherOrderAreAnError) {
  Reports reports = AllInOrder();
  std::swap(reports[2], reports[3]);
  ExpectInternal(reports, "report 2 of the server is of candidate 1 on \"k.weight\", not of 0");
  reports = AllInOrder();
  std::swap(reports[1], reports[2]);
  ExpectInternal(reports, "report 1 ");
  reports = AllInOrder();
  reports[1] = reports[0];
  ExpectInternal(reports, "report 1 of the server is of candidate 0");
}

TEST_F(MeasureClientTest, AReportOfAnotherTensorIsAnError) {
  Reports reports = AllInOrder();
  reports[3].second = "inputs";
  ExpectInternal(reports, "report 3 of the server is of candidate 1 on \"inputs\"");
}

TEST_F(MeasureClientTest, ReportsBeforeAcceptedAndTensorsAreAnError) {
  Attempt attempt = Run([](const SeenMeasure& seen, FakeService::MeasureStream* stream) {
    stream->Write(Report(0, "q.weight"));
    stream->Write(Accepted(seen));
    return grpc::Status::OK;
  });
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kInternal) << attempt.failure.status;
  EXPECT_THAT(std::string(attempt.failure.status.message()), HasSubstr("before Accepted"));
  attempt = Run([](const SeenMeasure& seen, FakeService::MeasureStream* stream) {
    stream->Write(Accepted(seen));
    stream->Write(v1::MeasureResponse());  // a frame of a later version
    stream->Write(Final());
    return grpc::Status::OK;
  });
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kInternal) << attempt.failure.status;
  EXPECT_THAT(std::string(attempt.failure.status.message()), HasSubstr("frame: missing"));
}

TEST_F(MeasureClientTest, WithoutFinalTheCallHasFailed) {
  const Attempt attempt = Run([](const SeenMeasure& seen, FakeService::MeasureStream* stream) {
    stream->Write(Accepted(seen));
    for (const auto& [candidate, weight] : AllInOrder()) stream->Write(Report(candidate, weight));
    return grpc::Status::OK;
  });
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(MeasureClientTest, TheServersStatusComesThrough) {
  const Attempt attempt = Run([](const SeenMeasure&, FakeService::MeasureStream*) {
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION,
                        "candidates[1]: method gptq needs a HESSIAN");
  });
  EXPECT_EQ(attempt.failure.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(attempt.failure.status.message(), "candidates[1]: method gptq needs a HESSIAN");
}

TEST_F(MeasureClientTest, AnEstimateAsksForTheMeasureJob) {
  v1::EstimateRequest asked;
  FakeService service(FakeService::EstimateScript(
      [&](const v1::EstimateRequest& request, v1::EstimateResponse* response) {
        asked = request;
        response->set_input_bytes(6000);
        response->set_peak_bytes(9000);
        response->set_seconds(2.5);
        response->set_admissible(true);
        *response->mutable_spec() =
            request.has_measure() ? request.measure().candidates(0) : request.header().spec();
        return grpc::Status::OK;
      }));
  const std::unique_ptr<Connection> connection = service.Connect();
  const absl::StatusOr<JobEstimate> estimate = Estimate(connection->channel(), job_);
  ASSERT_TRUE(estimate.ok()) << estimate.status();
  ASSERT_EQ(asked.job_case(), v1::EstimateRequest::kMeasure);
  EXPECT_EQ(asked.measure().job_id(), "frontier");
  EXPECT_EQ(asked.measure().tensors_size(), 3);
  EXPECT_EQ(asked.measure().candidates_size(), 2);
  EXPECT_EQ(estimate->input_bytes, 6000u);
  EXPECT_EQ(estimate->output_bytes, 0u);
  EXPECT_EQ(estimate->peak_bytes, 9000u);
  EXPECT_EQ(estimate->seconds, 2.5);
  EXPECT_TRUE(estimate->admissible);
  EXPECT_EQ(estimate->spec.levels.bits, 4);

  QuantizeJob quantize;
  quantize.id = "one";
  quantize.layout = "plain";
  quantize.spec.method = "rtn";
  EXPECT_TRUE(Estimate(connection->channel(), quantize).ok());
  EXPECT_EQ(asked.job_case(), v1::EstimateRequest::kHeader);
}

}  // namespace
}  // namespace quantd::client
