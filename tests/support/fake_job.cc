#include "tests/support/fake_job.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"

namespace quantd::testing {
namespace {

class FakeJob : public Job {
 public:
  explicit FakeJob(FakeJobPlan* plan) : plan_(plan) {
    spec_.method = plan_->method;
    ++plan_->live;
  }
  ~FakeJob() override { --plan_->live; }

  const Cost& cost() const override { return plan_->cost; }
  const std::vector<TensorDecl>& inputs() const override { return plan_->inputs; }
  const Spec& resolved_spec() const override { return spec_; }
  const std::string& method() const override { return spec_.method; }
  uint64_t weight_elements() const override { return 77; }

  absl::Status Begin(const RunContext&) override {
    ++plan_->begins;
    return plan_->begin;
  }
  absl::Status Write(int, uint64_t, absl::Span<const std::byte> bytes) override {
    QUANTD_RETURN_IF_ERROR(plan_->write);
    plan_->written += bytes.size();
    return absl::OkStatus();
  }
  absl::StatusOr<JobResult> Run(const RunContext& context) override {
    ++plan_->runs;
    if (plan_->run) return plan_->run(context);
    return ResultOf(plan_->output_bytes);
  }

 private:
  FakeJobPlan* plan_;
  Spec spec_;
};

}  // namespace

std::unique_ptr<FakeJobPlan> MakePlan(uint64_t input_bytes, uint64_t peak_bytes) {
  auto plan = std::make_unique<FakeJobPlan>();
  TensorDecl decl;
  decl.name = "w";
  decl.role = Role::kWeight;
  decl.dtype = DType::kU8;
  decl.shape = {static_cast<int64_t>(input_bytes)};
  plan->inputs.push_back(decl);
  plan->cost.input_bytes = input_bytes;
  plan->cost.peak_bytes = peak_bytes;
  plan->cost.seconds = 10;
  return plan;
}

JobFactory FactoryOf(FakeJobPlan* plan) {
  return [plan](const JobHeader& header) -> absl::StatusOr<std::unique_ptr<Job>> {
    if (plan->on_header) plan->on_header(header);
    QUANTD_RETURN_IF_ERROR(plan->create);
    return std::make_unique<FakeJob>(plan);
  };
}

JobResult ResultOf(uint64_t bytes, int weights) {
  JobResult result;
  for (int w = 0; w < weights; ++w) {
    Output output;
    output.decl.name = absl::StrCat("w", w, "_packed");
    output.decl.weight = w;
    output.decl.dtype = DType::kU8;
    output.decl.shape = {static_cast<int64_t>(bytes)};
    output.bytes = Buffer::Allocate(bytes).value();
    for (uint64_t i = 0; i < bytes; ++i) output.bytes.data()[i] = std::byte(i % 251);
    output.digest = DigestOf({output.bytes.data(), static_cast<size_t>(bytes)});
    result.outputs.push_back(std::move(output));
    TensorReport report;
    report.name = absl::StrCat("w", w);
    report.outcome = Outcome::kOk;
    result.report.tensors.push_back(std::move(report));
  }
  return result;
}

JobResult MeasuredOf(int weights, int candidates) {
  JobResult result;
  for (int w = 0; w < weights; ++w) {
    for (int c = 0; c < candidates; ++c) {
      CandidateReport& of = result.candidates.emplace_back();
      of.candidate = c;
      of.report.name = absl::StrCat("w", w);
      of.report.outcome = Outcome::kOk;
    }
  }
  return result;
}

}  // namespace quantd::testing
