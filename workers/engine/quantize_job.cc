#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/engine/check.h"
#include "workers/engine/cost.h"
#include "workers/engine/engine.h"
#include "workers/engine/intake.h"
#include "workers/engine/weight_run.h"
#include "workers/linalg/blas.h"

namespace quantd {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

class QuantizeJobImpl : public Job {
 public:
  QuantizeJobImpl(QuantizeJob job, QuantizeShape shape, const Method* method, const Layout* layout,
                  int width)
      : job_(std::move(job)),
        shape_(std::move(shape)),
        method_(method),
        layout_(layout),
        method_name_(method->name()) {
    Statistics statistics = Statistics::kNone;
    if (shape_.statistics >= 0) {
      statistics = job_.tensors[shape_.statistics].role == Role::kActivations
                       ? Statistics::kActivations
                       : Statistics::kHessian;
    }
    cost_ = QuantizeCost(job_, *method_, *layout_, statistics, shape_.n, width);
    for (int i = 0; i < static_cast<int>(shape_.weights.size()); ++i) {
      const TensorDecl& t = job_.tensors[shape_.weights[i]];
      elements_ += static_cast<uint64_t>(t.shape[0]) * static_cast<uint64_t>(t.shape[1]);
      for (const PackedDecl& d : layout_->Declare(job_.spec, t.shape[0], t.shape[1])) {
        outputs_.push_back({ModuleName(t.name) + d.suffix, i, d.dtype, d.shape});
      }
    }
    digests_.resize(job_.tensors.size());
  }

  const Cost& cost() const override { return cost_; }
  const std::vector<TensorDecl>& inputs() const override { return job_.tensors; }
  const std::vector<OutputDecl>& outputs() const override { return outputs_; }
  const Spec& resolved_spec() const override { return job_.spec; }
  const std::string& method() const override { return method_name_; }
  uint64_t weight_elements() const override { return elements_; }

  absl::Status Begin(const RunContext& context) override {
    executor_ = context.executor;
    cancel_ = context.cancel;
    weights_.resize(job_.tensors.size());
    for (int i : shape_.weights) {
      const TensorDecl& t = job_.tensors[i];
      QUANTD_ASSIGN_OR_RETURN(const uint64_t bytes, CheckedBytes(t.shape, t.dtype, t.name));
      QUANTD_ASSIGN_OR_RETURN(weights_[i], Buffer::AllocateUnfilled(bytes));
    }
    if (shape_.statistics >= 0) {
      QUANTD_ASSIGN_OR_RETURN(statistics_,
                              HessianIntake::Create(job_.tensors[shape_.statistics], shape_.n));
    }
    return absl::OkStatus();
  }

  absl::Status Write(int index, uint64_t offset, absl::Span<const std::byte> bytes) override {
    if (index == shape_.statistics) return statistics_->Add(bytes, *executor_, *cancel_);
    std::memcpy(weights_[index].data() + offset, bytes.data(), bytes.size());
    return absl::OkStatus();
  }

  void Complete(int index, const Digest& digest) override { digests_[index] = digest; }

  absl::StatusOr<JobResult> Run(const RunContext& context) override {
    const SteadyClock::time_point start = SteadyClock::now();
    JobResult result;
    context.progress->OnProgress(Phase::kPreparing, 0);
    std::unique_ptr<Hessian> hessian;
    if (statistics_ != nullptr) {
      result.report.calibration_tokens =
          statistics_->tokens() > 0 ? statistics_->tokens() : job_.calibration_tokens;
      QUANTD_ASSIGN_OR_RETURN(Hessian h, statistics_->Finish(*context.executor, *context.cancel));
      statistics_.reset();
      hessian = std::make_unique<Hessian>(std::move(h));
    }
    context.progress->OnProgress(Phase::kPreparing, 0.2);
    absl::StatusOr<std::unique_ptr<GroupSolver>> solver =
        method_->Prepare(job_.spec, hessian.get(), *context.executor, *context.cancel);
    if (!solver.ok() && solver.status().code() != absl::StatusCode::kFailedPrecondition) {
      return solver.status();
    }
    result.report.seconds.prepare = SecondsSince(start);
    result.report.predicted_peak_bytes = cost_.peak_bytes;

    const std::string refused = Refusal(solver);
    rows_total_ = 0;
    for (int i : shape_.weights) rows_total_ += job_.tensors[i].shape[0];
    for (int w = 0; w < static_cast<int>(shape_.weights.size()); ++w) {
      if (!refused.empty()) {
        result.report.tensors.push_back(Rejected(w, refused));
      } else {
        QUANTD_RETURN_IF_ERROR(RunOne(w, **solver, context, &result));
      }
      weights_[shape_.weights[w]] = Buffer();
    }
    result.report.seconds.total = SecondsSince(start);
    return result;
  }

 private:
  // Why no weight of the group may be delivered; empty when all may.
  std::string Refusal(const absl::StatusOr<std::unique_ptr<GroupSolver>>& solver) const {
    if (!solver.ok()) return std::string(solver.status().message());
    const std::string degraded = (*solver)->degraded();
    if (!degraded.empty() && job_.policy.on_degraded == OnDegraded::kReject) {
      return absl::StrCat(degraded, "; the policy rejects degraded results");
    }
    return "";
  }

  TensorReport Rejected(int w, const std::string& reason) const {
    const TensorDecl& t = job_.tensors[shape_.weights[w]];
    TensorReport report;
    report.name = t.name;
    report.outcome = Outcome::kRejected;
    report.reason = reason;
    report.rows = t.shape[0];
    report.cols = t.shape[1];
    report.source_digest = digests_[shape_.weights[w]];
    return report;
  }

  absl::Status RunOne(int w, const GroupSolver& solver, const RunContext& context,
                      JobResult* result) {
    const int index = shape_.weights[w];
    const TensorDecl& t = job_.tensors[index];
    WeightJob task;
    task.name = t.name;
    task.view = {t.dtype, weights_[index].data(), t.shape[0], t.shape[1]};
    task.spec = &job_.spec;
    task.method = method_;
    task.solver = &solver;
    task.layout = layout_;
    task.with_hessian = solver.has_energy();
    QUANTD_ASSIGN_OR_RETURN(
        WeightResult run, RunWeight(task, *context.executor, *context.cancel, [&](int64_t rows) {
          const int64_t done = rows_done_.fetch_add(rows) + rows;
          context.progress->OnProgress(
              Phase::kSolving, static_cast<double>(done) / static_cast<double>(rows_total_));
        }));
    TensorReport& report = run.report;
    report.source_digest = digests_[index];
    if (report.outcome == Outcome::kOk && !solver.degraded().empty()) {
      report.outcome = Outcome::kDegraded;
      report.reason = solver.degraded();
    }
    for (PackedTensor& p : run.packed) {
      Output out;
      out.decl = {ModuleName(t.name) + p.decl.suffix, w, p.decl.dtype, p.decl.shape};
      out.digest = DigestOf({p.bytes.data(), static_cast<size_t>(p.bytes.size())});
      out.bytes = std::move(p.bytes);
      report.packed_digests.emplace_back(out.decl.name, out.digest);
      result->outputs.push_back(std::move(out));
    }
    result->report.seconds.solve += run.solve_seconds;
    result->report.seconds.measure += run.measure_seconds;
    result->report.tensors.push_back(std::move(report));
    return absl::OkStatus();
  }

  const QuantizeJob job_;
  const QuantizeShape shape_;
  const Method* method_;
  const Layout* layout_;
  const std::string method_name_;
  Cost cost_;
  std::vector<OutputDecl> outputs_;
  uint64_t elements_ = 0;

  Executor* executor_ = nullptr;
  const CancelToken* cancel_ = nullptr;
  std::vector<Buffer> weights_;  // by tensor index; empty for statistics
  std::unique_ptr<HessianIntake> statistics_;
  std::vector<Digest> digests_;
  int64_t rows_total_ = 0;
  std::atomic<int64_t> rows_done_{0};
};

}  // namespace

absl::StatusOr<std::unique_ptr<Job>> Job::Create(QuantizeJob job, const JobLimits& limits,
                                                 int width) {
  QUANTD_RETURN_IF_ERROR(InitBlas());
  QUANTD_ASSIGN_OR_RETURN(const Method* method, FindMethod(job.spec.method));
  QUANTD_ASSIGN_OR_RETURN(const Layout* layout, FindLayout(job.layout));
  QUANTD_ASSIGN_OR_RETURN(QuantizeShape shape, CheckQuantize(job, *method, *layout, limits));
  return std::unique_ptr<Job>(
      new QuantizeJobImpl(std::move(job), std::move(shape), method, layout, width));
}

std::vector<MethodInfo> ListMethods() {
  std::vector<MethodInfo> list;
  for (const Method* m : AllMethods()) {
    list.push_back({std::string(m->name()), std::string(m->title()), std::string(m->paper()),
                    std::string(m->needs()), std::string(m->when_not_to_use()), m->Defaults()});
  }
  return list;
}

std::vector<std::string> ListLayouts() {
  std::vector<std::string> list;
  for (const Layout* l : AllLayouts()) list.emplace_back(l->name());
  return list;
}

}  // namespace quantd
