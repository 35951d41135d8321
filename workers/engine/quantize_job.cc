#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/compose/group_solver.h"
#include "workers/core/status_macros.h"
#include "workers/engine/check.h"
#include "workers/engine/choose.h"
#include "workers/engine/cost.h"
#include "workers/engine/engine.h"
#include "workers/engine/finite.h"
#include "workers/engine/job_intake.h"
#include "workers/engine/job_state.h"
#include "workers/engine/job_watch.h"
#include "workers/engine/weight_totals.h"
#include "workers/linalg/blas.h"
#include "workers/methods/check.h"
#include "workers/methods/method.h"

namespace quantd {
namespace {

class QuantizeJobImpl : public Job {
 public:
  QuantizeJobImpl(QuantizeJob job, QuantizeShape shape, const Layout* layout, int width)
      : job_(std::move(job)),
        shape_(std::move(shape)),
        layout_(layout),
        cost_(QuantizeCost(job_, *layout_, shape_, width)),
        intake_(job_.tensors, job_.spec, shape_) {
    for (const int i : shape_.weights) {
      const TensorDecl& t = job_.tensors[i];
      elements_ += static_cast<uint64_t>(t.shape[0]) * static_cast<uint64_t>(t.shape[1]);
    }
    digests_.resize(job_.tensors.size());
  }

  const Cost& cost() const override { return cost_; }
  const std::vector<TensorDecl>& inputs() const override { return job_.tensors; }
  const Spec& resolved_spec() const override { return job_.spec; }
  const std::string& method() const override { return job_.spec.method; }
  uint64_t weight_elements() const override { return elements_; }

  absl::Status Begin(const RunContext& context) override {
    executor_ = context.executor;
    cancel_ = context.cancel;
    return intake_.Begin();
  }

  absl::Status Write(int index, uint64_t offset, absl::Span<const std::byte> bytes) override {
    return intake_.Write(index, offset, bytes, *executor_, *cancel_);
  }

  void Complete(int index, const Digest& digest) override { digests_[index] = digest; }

  absl::StatusOr<JobResult> Run(const RunContext& context) override {
    const SteadyClock::time_point start = SteadyClock::now();
    JobResult result;
    context.progress->OnProgress(Phase::kPreparing, 0);
    QUANTD_RETURN_IF_ERROR(TakeUpState());
    QUANTD_ASSIGN_OR_RETURN(inputs_, intake_.Finish(*context.executor, *context.cancel));
    for (size_t w = 0; w < inputs_.weights.size(); ++w) {
      inputs_.weights[w].state = state_->Of(static_cast<int>(w));
    }
    result.report.calibration_tokens =
        intake_.tokens() > 0 ? intake_.tokens() : job_.calibration_tokens;
    context.progress->OnProgress(Phase::kPreparing, 0.2);
    QUANTD_RETURN_IF_ERROR(LeaveOutNotFinite(context));
    absl::StatusOr<std::unique_ptr<GroupSolver>> solver =
        GroupSolver::Prepare(job_.spec, &inputs_, *context.executor, *context.cancel);
    if (!solver.ok() && solver.status().code() != absl::StatusCode::kFailedPrecondition) {
      return solver.status();
    }
    result.report.seconds.prepare = SecondsSince(start);
    result.report.predicted_peak_bytes = cost_.peak_bytes;

    const OutcomeReason refused = Refusal(solver);
    std::vector<int64_t> rows;
    rows.reserve(shape_.weights.size());
    for (const int i : shape_.weights) rows.push_back(job_.tensors[i].shape[0]);
    JobWatch watch(job_.spec, std::move(rows), context.progress, StatesWanted(context), &*state_);
    for (int w = 0; w < static_cast<int>(shape_.weights.size()); ++w) {
      watch.Begin(w);
      if (!left_out_[w].empty()) {
        result.report.tensors.push_back(Rejected(w, left_out_[w]));
      } else if (!refused.empty()) {
        result.report.tensors.push_back(Rejected(w, refused));
      } else {
        QUANTD_RETURN_IF_ERROR(RunOne(w, **solver, context, &watch, &result));
      }
      intake_.Release(w);
    }
    result.report.seconds.total = SecondsSince(start);
    return result;
  }

 private:
  // What a CHECKPOINT knows of the solves, so that they go on from there.
  absl::Status TakeUpState() {
    state_.emplace(RequestDigest(job_, digests_), static_cast<int>(shape_.weights.size()));
    if (shape_.checkpoint < 0) return absl::OkStatus();
    absl::Status loaded = state_->Load(intake_.checkpoint());
    if (loaded.ok()) return loaded;
    return absl::Status(
        loaded.code(),
        absl::StrCat("tensor '", job_.tensors[shape_.checkpoint].name, "': ", loaded.message()));
  }

  StateSink* StatesWanted(const RunContext& context) const {
    return job_.checkpoint_seconds > 0 ? context.states : nullptr;
  }

  // One NaN would spoil the scales that weights of a group share, and with them its neighbours.
  absl::Status LeaveOutNotFinite(const RunContext& context) {
    left_out_.assign(shape_.weights.size(), {});
    position_.resize(shape_.weights.size());
    std::vector<WeightInputs> kept;
    for (size_t w = 0; w < shape_.weights.size(); ++w) {
      position_[w] = static_cast<int>(kept.size());
      if (TiesWeights(job_.spec)) {
        const WeightView& view = inputs_.weights[w].weight;
        QUANTD_ASSIGN_OR_RETURN(const WeightExtent extent,
                                ExtentOf(view, *context.executor, *context.cancel));
        if (extent.first_bad >= 0) {
          left_out_[w] = NotFiniteReason(extent.first_bad, view.n);
          continue;
        }
      }
      kept.push_back(inputs_.weights[w]);
    }
    inputs_.weights = std::move(kept);
    return absl::OkStatus();
  }

  // Why no weight of the group may be delivered; empty when all may.
  OutcomeReason Refusal(const absl::StatusOr<std::unique_ptr<GroupSolver>>& solver) const {
    if (!solver.ok()) return {OutcomeCause::kOther, std::string(solver.status().message())};
    const OutcomeReason degraded = (*solver)->degraded();
    if (!degraded.empty() && job_.policy.on_degraded == OnDegraded::kReject) {
      return {OutcomeCause::kPolicy,
              absl::StrCat(degraded.text, "; the policy rejects degraded results")};
    }
    return {};
  }

  TensorReport Rejected(int w, const OutcomeReason& reason) const {
    const int index = shape_.weights[w];
    return RejectedReport(job_.tensors[index], digests_[index], reason);
  }

  absl::Status RunOne(int w, const GroupSolver& solver, const RunContext& context, JobWatch* watch,
                      JobResult* result) {
    const int index = shape_.weights[w];
    const TensorDecl& t = job_.tensors[index];
    WeightJob task;
    task.name = t.name;
    task.spec = job_.spec;
    task.inputs = &inputs_.weights[position_[w]];
    task.index = position_[w];
    task.group = &solver;
    task.layout = layout_;
    task.watch = watch;
    QUANTD_ASSIGN_OR_RETURN(WeightResult run,
                            RunBest(task, *context.executor, *context.cancel,
                                    [watch](int64_t rows) { watch->OnRows(rows); }));
    TensorReport& report = run.report;
    report.source_digest = digests_[index];
    Degrade(solver.degraded(), &report);
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
  const Layout* layout_;
  const Cost cost_;
  uint64_t elements_ = 0;

  Executor* executor_ = nullptr;
  const CancelToken* cancel_ = nullptr;
  JobIntake intake_;
  GroupInputs inputs_;
  std::vector<OutcomeReason> left_out_;  // by weight: why, or empty
  std::vector<int> position_;            // by weight: its place in inputs_.weights
  std::vector<Digest> digests_;
  std::optional<JobState> state_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Job>> Job::Create(QuantizeJob job, const JobLimits& limits,
                                                 int width) {
  QUANTD_RETURN_IF_ERROR(InitBlas());
  QUANTD_ASSIGN_OR_RETURN(const Layout* layout, FindLayout(job.layout));
  QUANTD_ASSIGN_OR_RETURN(QuantizeShape shape, CheckQuantize(job, *layout, limits));
  return std::unique_ptr<Job>(new QuantizeJobImpl(std::move(job), std::move(shape), layout, width));
}

std::vector<MethodInfo> ListMethods() {
  std::vector<MethodInfo> list;
  for (const Method* m : AllMethods()) {
    list.push_back({std::string(m->name), std::string(m->title), std::string(m->paper),
                    std::string(m->needs), std::string(m->when_not_to_use), std::string(m->reading),
                    m->defaults()});
  }
  return list;
}

std::vector<std::string> ListLayouts() {
  std::vector<std::string> list;
  for (const Layout* l : AllLayouts()) list.emplace_back(l->name());
  return list;
}

}  // namespace quantd
