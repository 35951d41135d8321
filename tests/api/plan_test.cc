// Plan over a port: figures in, a choice or a law's answer out.
#include <cstdint>
#include <list>
#include <memory>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "grpcpp/completion_queue.h"
#include "tests/api/api_fixture.h"

namespace quantd::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A thousand candidates for each of sixty layers, hardly one better than another: a search that
// takes all states that it may have, half a second of a fast thread.
v1::PlanRequest Stubborn() {
  constexpr int kLayers = 60, kCandidates = 1000;
  v1::PlanRequest request;
  v1::AllocationQuestion* question = request.mutable_allocation();
  for (int c = 0; c < kCandidates; ++c) question->add_candidates(absl::StrCat(c));
  std::mt19937_64 random(1);
  uint64_t budget = 0;
  for (int l = 0; l < kLayers; ++l) {
    const uint64_t parameters = (random() >> 26) | 1;
    v1::PlanLayer* layer = question->add_layers();
    layer->set_name(absl::StrCat(l));
    layer->set_parameters(parameters);
    for (int c = 0; c < kCandidates; ++c) {
      v1::LayerOption* option = layer->add_options();
      option->set_candidate(c);
      option->set_bytes(parameters * (c + 1) / kCandidates + random() % 7);
      option->set_error(0.1 * (kCandidates - c) / kCandidates);
      option->set_block(64);
    }
    budget += parameters / 10;
  }
  question->set_max_bytes(budget);
  return request;
}

// Plans under way at once.
class ManyPlans {
 public:
  explicit ManyPlans(v1::QuantizationService::Stub* stub) : stub_(stub) {}

  void Begin(const v1::PlanRequest& request, std::unique_ptr<grpc::ClientContext> context) {
    Call& call = calls_.emplace_back();
    call.context = std::move(context);
    call.reader = stub_->AsyncPlan(call.context.get(), request, &queue_);
    call.reader->Finish(&call.response, &call.status, &call);
  }

  void Cancel() {
    for (Call& call : calls_) call.context->TryCancel();
  }

  // All of them ended so.
  void ExpectAll(grpc::StatusCode code) {
    for (size_t i = 0; i < calls_.size(); ++i) {
      void* tag = nullptr;
      bool ok = false;
      ASSERT_TRUE(queue_.Next(&tag, &ok));
      const grpc::Status& status = static_cast<Call*>(tag)->status;
      EXPECT_EQ(status.error_code(), code) << status.error_message();
    }
  }

 private:
  struct Call {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<v1::PlanResponse>> reader;
    v1::PlanResponse response;
    grpc::Status status;
  };

  v1::QuantizationService::Stub* const stub_;
  grpc::CompletionQueue queue_;
  std::list<Call> calls_;
};

class PlanApiTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    remote_ = StartOnPort();
    ASSERT_NE(remote_, nullptr);
  }

  grpc::Status Ask(const v1::PlanRequest& request) {
    const auto context = NewContext();
    answer_.Clear();
    return remote_->Plan(context.get(), request, &answer_);
  }

  // Layer a hardly minds int4 and minds int3; to b they are nearly the same.
  static v1::PlanRequest TwoLayers() {
    v1::PlanRequest request;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
      allocation {
        candidates: "int4" candidates: "int3"
        layers {
          name: "a" parameters: 1000
          options { candidate: 0 bytes: 500 error: 0.01 block: 100 }
          options { candidate: 1 bytes: 375 error: 0.1 block: 100 }
          options { candidate: -1 bytes: 2000 }
        }
        layers {
          name: "b" parameters: 1000
          options { candidate: 0 bytes: 500 error: 0.02 block: 100 }
          options { candidate: 1 bytes: 375 error: 0.03 block: 100 }
          options { candidate: -1 bytes: 2000 }
        }
      })",
                                                              &request));
    return request;
  }

  static v1::PlanRequest Law() {
    v1::PlanRequest request;
    v1::ScalingLaw* law = request.mutable_law()->mutable_law();
    law->set_c(0.00103);
    law->set_a(4.955);
    law->set_gamma_n(0.512);
    law->set_gamma_b(0.425);
    return request;
  }

  void ExpectRefused(const v1::PlanRequest& request, grpc::StatusCode code,
                     const std::string& word) {
    const grpc::Status status = Ask(request);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(word));
  }

  // Compute threads at work, as the server last told.
  int BusyThreads() const {
    const std::vector<int> busy = events_.busy();
    return busy.empty() ? 0 : busy.back();
  }

  v1::PlanResponse answer_;
  std::unique_ptr<v1::QuantizationService::Stub> remote_;
};

TEST_F(PlanApiTest, TheLeastErrorWithinABudget) {
  v1::PlanRequest request = TwoLayers();
  request.mutable_allocation()->set_max_bytes(999);  // int4 for one of them
  ASSERT_TRUE(Ask(request).ok());
  const v1::AllocationAnswer& plan = answer_.allocation();
  EXPECT_THAT(plan.choice(), ElementsAre(0, 1));
  EXPECT_EQ(plan.totals().bytes(), 875u);
  EXPECT_DOUBLE_EQ(plan.totals().bits_per_weight(), 3.5);
  EXPECT_DOUBLE_EQ(plan.totals().error(), 0.02);
  EXPECT_EQ(plan.totals().low_share(), 1);
  EXPECT_EQ(plan.totals().block(), 100);
  EXPECT_TRUE(plan.has_gap());
  EXPECT_EQ(plan.gap(), 0);
  EXPECT_EQ(plan.bound(), plan.totals().error());
  ASSERT_EQ(plan.uniform_size(), 3);
  EXPECT_EQ(plan.uniform(0).candidate(), 1);
  EXPECT_EQ(plan.uniform(0).totals().bytes(), 750u);
  EXPECT_EQ(plan.uniform(1).candidate(), 0);
  EXPECT_EQ(plan.uniform(2).candidate(), -1);
  EXPECT_EQ(plan.best_uniform(), 0);
  EXPECT_EQ(plan.trials_size(), 0);
}

TEST_F(PlanApiTest, TheFewestBytesWithinAnError) {
  v1::PlanRequest request = TwoLayers();
  request.mutable_allocation()->set_max_error(0.025);
  ASSERT_TRUE(Ask(request).ok());
  EXPECT_THAT(answer_.allocation().choice(), ElementsAre(0, 1));
  EXPECT_EQ(answer_.allocation().totals().bytes(), 875u);
}

TEST_F(PlanApiTest, LayersThatMustAgreeDo) {
  v1::PlanRequest request = TwoLayers();
  request.mutable_allocation()->set_max_bytes(999);
  v1::LayerSet* set = request.mutable_allocation()->add_same();
  set->add_layers(0);
  set->add_layers(1);
  ASSERT_TRUE(Ask(request).ok());
  EXPECT_THAT(answer_.allocation().choice(), ElementsAre(1, 1));
}

TEST_F(PlanApiTest, AGoalThatNothingMeetsNamesTheNearest) {
  v1::PlanRequest request = TwoLayers();
  request.mutable_allocation()->set_max_bytes(700);
  ExpectRefused(request, grpc::StatusCode::OUT_OF_RANGE, "750 bytes");
  request.mutable_allocation()->mutable_layers(0)->mutable_options(2)->set_error(0.5);
  request.mutable_allocation()->mutable_layers(1)->mutable_options(2)->set_error(0.5);
  request.mutable_allocation()->set_max_error(0.01);
  ExpectRefused(request, grpc::StatusCode::OUT_OF_RANGE, "0.015");
  request.mutable_allocation()->mutable_layers(0)->mutable_options()->RemoveLast();
  request.mutable_allocation()->set_low_share(0.25);
  ExpectRefused(request, grpc::StatusCode::OUT_OF_RANGE, "0.5");
}

TEST_F(PlanApiTest, RandomDrawsAreJudgedByTheirErrorOrByLossesOfTheCaller) {
  v1::PlanRequest request = TwoLayers();
  request.mutable_allocation()->set_low_share(0.5);
  v1::RandomSearch* search = request.mutable_allocation()->mutable_random_search();
  search->set_trials(12);
  search->set_seed(7);
  ASSERT_TRUE(Ask(request).ok());
  const v1::AllocationAnswer drawn = answer_.allocation();
  ASSERT_EQ(drawn.trials_size(), 12);
  int of_b = -1;
  for (int t = 0; t < 12; ++t) {
    const v1::PlanTrial& trial = drawn.trials(t);
    EXPECT_EQ(trial.totals().low_share(), 0.5);
    if (trial.choice(1) == 0) of_b = t;
  }
  // One of the two stays dense; a has the smaller error when it does not.
  EXPECT_THAT(drawn.choice(), ElementsAre(0, 2));
  EXPECT_DOUBLE_EQ(drawn.totals().error(), 0.005);
  EXPECT_EQ(drawn.best_uniform(), -1);
  EXPECT_FALSE(drawn.has_gap() || drawn.has_bound());
  ASSERT_GE(of_b, 0) << "twelve draws and always the same one";

  for (int t = 0; t < 12; ++t) search->add_losses(t == of_b ? 1.5 : 2);
  ASSERT_TRUE(Ask(request).ok());
  EXPECT_EQ(answer_.allocation().best_trial(), static_cast<uint32_t>(of_b));
  EXPECT_THAT(answer_.allocation().choice(), ElementsAre(2, 0));
  for (int t = 0; t < 12; ++t) {
    EXPECT_EQ(answer_.allocation().trials(t).SerializeAsString(),
              drawn.trials(t).SerializeAsString());
  }
  search->add_losses(3);
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT, "13 losses for 12 trials");
}

TEST_F(PlanApiTest, TheLawAnswersForAnyOfItsFour) {
  constexpr double kDelta = 0.1068;
  v1::PlanRequest request = Law();
  v1::LawQuestion* law = request.mutable_law();
  law->set_billions(7);
  law->set_low_share(0.9);
  law->set_block(16);
  ASSERT_TRUE(Ask(request).ok());
  EXPECT_NEAR(answer_.law().delta(), kDelta, 5e-5);
  EXPECT_EQ(answer_.law().billions(), 7);
  EXPECT_EQ(answer_.law().low_share(), 0.9);
  EXPECT_EQ(answer_.law().block(), 16);
  EXPECT_EQ(answer_.law().likely().least(), answer_.law().delta());

  law->set_delta(answer_.law().delta());
  law->clear_low_share();
  ASSERT_TRUE(Ask(request).ok());
  EXPECT_NEAR(answer_.law().low_share(), 0.9, 1e-9);
  law->set_low_share(0.9);
  law->clear_block();
  ASSERT_TRUE(Ask(request).ok());
  EXPECT_NEAR(answer_.law().block(), 16, 1e-6);
  law->set_block(16);
  law->clear_billions();
  ASSERT_TRUE(Ask(request).ok());
  EXPECT_NEAR(answer_.law().billions(), 7, 1e-6);
}

TEST_F(PlanApiTest, ALawSaysWhereItWasNotMeasuredAndHowSureItIs) {
  v1::PlanRequest request = Law();
  v1::LawQuestion* law = request.mutable_law();
  law->mutable_law()->set_residual(0.1);
  law->mutable_law()->mutable_billions()->set_least(0.5);
  law->mutable_law()->mutable_billions()->set_most(3);
  law->set_billions(7);
  law->set_low_share(0.9);
  law->set_block(16);
  ASSERT_TRUE(Ask(request).ok());
  ASSERT_EQ(answer_.law().warnings_size(), 1);
  EXPECT_THAT(answer_.law().warnings(0), HasSubstr("N = 7"));
  EXPECT_NEAR(answer_.law().likely().least(), 0.1068 / 1.10517, 1e-4);
  EXPECT_NEAR(answer_.law().likely().most(), 0.1068 * 1.10517, 1e-4);
}

// Far more work than a test waits for, were it done: those that run end, those that wait never
// begin.
TEST_F(PlanApiTest, PlansWhoseClientCancelsEnd) {
  const v1::PlanRequest request = Stubborn();
  ManyPlans plans(remote_.get());
  for (int i = 0; i < 48; ++i) plans.Begin(request, NewContext());
  EXPECT_TRUE(Eventually([this] { return BusyThreads() == 2; }));
  plans.Cancel();
  plans.ExpectAll(grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([this] { return BusyThreads() == 0; }));
  v1::PlanRequest next = TwoLayers();
  next.mutable_allocation()->set_max_bytes(999);
  EXPECT_TRUE(Ask(next).ok());
}

TEST_F(PlanApiTest, PlansWhoseDeadlinePassesEnd) {
  const v1::PlanRequest request = Stubborn();
  ManyPlans plans(remote_.get());
  for (int i = 0; i < 48; ++i) {
    auto context = NewContext();
    context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(100)));
    plans.Begin(request, std::move(context));
  }
  plans.ExpectAll(grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([this] { return BusyThreads() == 0; }));
  v1::PlanRequest next = TwoLayers();
  next.mutable_allocation()->set_max_bytes(999);
  EXPECT_TRUE(Ask(next).ok());
}

TEST_F(PlanApiTest, AnEstimateDoesNotWaitForPlans) {
  const v1::PlanRequest request = Stubborn();
  ManyPlans plans(remote_.get());
  for (int i = 0; i < 16; ++i) plans.Begin(request, NewContext());
  EXPECT_TRUE(Eventually([this] { return BusyThreads() == 2; }));
  v1::EstimateRequest dry;
  *dry.mutable_header() = MakeHeader("dry", {MakeWeight("w.weight", 16, 128, 1)});
  v1::EstimateResponse estimate;
  const auto context = NewContext();
  EXPECT_TRUE(remote_->Estimate(context.get(), dry, &estimate).ok());
  EXPECT_EQ(BusyThreads(), 2) << "the plans were done before";
  plans.Cancel();
  plans.ExpectAll(grpc::StatusCode::CANCELLED);
}

TEST_F(PlanApiTest, QuestionsThatAreNone) {
  ExpectRefused(v1::PlanRequest(), grpc::StatusCode::INVALID_ARGUMENT, "question: missing");
  v1::PlanRequest request = TwoLayers();
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT, "allocation.goal: missing");
  request.mutable_allocation()->set_max_bytes(999);
  request.mutable_allocation()->mutable_layers(1)->mutable_options(0)->set_candidate(5);
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT,
                "allocation.layers[1].options[0].candidate: 5");
  request.mutable_allocation()->mutable_layers(1)->clear_options();
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT, "layer 'b' has no candidate");
  request.mutable_allocation()->clear_layers();
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT, "no layers");
  request = Law();
  request.mutable_law()->set_billions(7);
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT, "Q_r, Q_b, delta are missing");
  request.mutable_law()->mutable_law()->set_c(0);
  ExpectRefused(request, grpc::StatusCode::INVALID_ARGUMENT, "law.law.c: 0");
}

}  // namespace
}  // namespace quantd::testing
