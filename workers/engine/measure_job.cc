// Measure: every candidate on every weight of a group, with as much work shared as their specs
// allow. One upload and one H serve all of them; candidates that prepare the group alike share its
// factor, and with it the energies of the weights.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "workers/compose/group_solver.h"
#include "workers/core/buffer_copy.h"
#include "workers/core/status_macros.h"
#include "workers/engine/check.h"
#include "workers/engine/choose.h"
#include "workers/engine/cost.h"
#include "workers/engine/engine.h"
#include "workers/engine/finite.h"
#include "workers/engine/job_intake.h"
#include "workers/engine/weight_totals.h"
#include "workers/linalg/blas.h"

namespace quantd {
namespace {

class MeasureJobImpl : public Job {
 public:
  MeasureJobImpl(MeasureJob job, MeasureShape shape, const Layout* layout, int width)
      : job_(std::move(job)),
        shape_(std::move(shape)),
        layout_(layout),
        cost_(MeasureCost(job_, *layout_, shape_, width)),
        intake_(job_.tensors, job_.candidates.front(), shape_.tensors),
        digests_(job_.tensors.size()) {
    for (const int i : shape_.tensors.weights) {
      const TensorDecl& t = job_.tensors[i];
      elements_ += static_cast<uint64_t>(t.shape[0]) * static_cast<uint64_t>(t.shape[1]) *
                   job_.candidates.size();
    }
  }

  const Cost& cost() const override { return cost_; }
  const std::vector<TensorDecl>& inputs() const override { return job_.tensors; }
  const Spec& resolved_spec() const override { return job_.candidates.front(); }
  const std::string& method() const override { return method_; }
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
    context.progress->OnProgress(Phase::kPreparing, 0);
    QUANTD_ASSIGN_OR_RETURN(inputs_, intake_.Finish(*executor_, *cancel_));
    JobResult result;
    result.report.calibration_tokens =
        intake_.tokens() > 0 ? intake_.tokens() : job_.calibration_tokens;
    result.report.predicted_peak_bytes = cost_.peak_bytes;
    QUANTD_RETURN_IF_ERROR(FindNotFinite());
    figures_.assign(shape_.tensors.weights.size(),
                    std::vector<TensorReport>(job_.candidates.size()));
    for (const PreparationSet& set : shape_.sets) {
      QUANTD_RETURN_IF_ERROR(RunSet(set, context.progress, &result.report.seconds));
    }
    for (std::vector<TensorReport>& of_weight : figures_) {
      for (size_t c = 0; c < of_weight.size(); ++c) {
        result.candidates.push_back({static_cast<int>(c), std::move(of_weight[c])});
      }
      std::vector<TensorReport>().swap(of_weight);
    }
    result.report.seconds.total = SecondsSince(start);
    return result;
  }

 private:
  // A weight that is not finite has no figures under any candidate, and would spoil those that
  // share scales with it.
  absl::Status FindNotFinite() {
    for (const WeightInputs& w : inputs_.weights) {
      QUANTD_ASSIGN_OR_RETURN(const WeightExtent extent, ExtentOf(w.weight, *executor_, *cancel_));
      left_out_.push_back(extent.first_bad >= 0 ? NotFiniteReason(extent.first_bad, w.weight.n)
                                                : OutcomeReason());
    }
    return absl::OkStatus();
  }

  // A group prepared for the candidates of a set. Not movable: `inputs` points into it.
  struct Prepared {
    std::optional<Hessian> hessian;  // copies, where the preparation changes them
    Buffer cross_moment;
    GroupInputs inputs;
    std::vector<int> position;            // by weight: its place in `inputs`, -1: left out
    std::unique_ptr<GroupSolver> solver;  // null: see `refused`
    OutcomeReason refused;
    std::vector<SourceEnergies> energies;  // by place in `inputs`
  };

  absl::Status Prepare(const PreparationSet& set, Prepared* p) const {
    const Spec& spec = job_.candidates[set.front()];
    p->inputs.n = inputs_.n;
    p->inputs.hessian = inputs_.hessian;
    p->inputs.abs_mean = inputs_.abs_mean;
    p->inputs.abs_max = inputs_.abs_max;
    p->inputs.rotation_signs = inputs_.rotation_signs;
    if (!GroupSolver::KeepsInputs(spec)) QUANTD_RETURN_IF_ERROR(CopyInputs(p));
    for (size_t w = 0; w < inputs_.weights.size(); ++w) {
      const bool fits = left_out_[w].empty() && std::any_of(set.begin(), set.end(), [&](int c) {
                          return shape_.unfit[c][w].empty();
                        });
      p->position.push_back(fits ? static_cast<int>(p->inputs.weights.size()) : -1);
      if (fits) p->inputs.weights.push_back(inputs_.weights[w]);
    }
    p->energies.resize(p->inputs.weights.size());
    if (p->inputs.weights.empty()) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<GroupSolver>> solver =
        GroupSolver::Prepare(spec, &p->inputs, *executor_, *cancel_);
    if (solver.ok()) {
      p->solver = *std::move(solver);
    } else if (absl::IsFailedPrecondition(solver.status())) {
      p->refused = {OutcomeCause::kOther, std::string(solver.status().message())};
    } else {
      return solver.status();
    }
    return absl::OkStatus();
  }

  absl::Status CopyInputs(Prepared* p) const {
    if (inputs_.hessian != nullptr) {
      QUANTD_ASSIGN_OR_RETURN(Hessian copy, inputs_.hessian->Copy(*executor_, *cancel_));
      p->inputs.hessian = &p->hessian.emplace(std::move(copy));
    }
    if (inputs_.cross_moment != nullptr) {
      QUANTD_ASSIGN_OR_RETURN(p->cross_moment, CopyOf(*inputs_.cross_moment, *executor_, *cancel_));
      p->inputs.cross_moment = &p->cross_moment;
    }
    return absl::OkStatus();
  }

  absl::Status RunSet(const PreparationSet& set, ProgressSink* progress, StageSeconds* seconds) {
    const SteadyClock::time_point start = SteadyClock::now();
    Prepared prepared;
    QUANTD_RETURN_IF_ERROR(Prepare(set, &prepared));
    seconds->prepare += SecondsSince(start);
    const double all = static_cast<double>(left_out_.size() * job_.candidates.size());
    for (const int c : set) {
      for (int w = 0; w < static_cast<int>(left_out_.size()); ++w) {
        const OutcomeReason unfit = {OutcomeCause::kOther, shape_.unfit[c][w]};
        const OutcomeReason& refused = !left_out_[w].empty() ? left_out_[w]
                                       : !unfit.empty()      ? unfit
                                                             : prepared.refused;
        if (refused.empty()) {
          QUANTD_RETURN_IF_ERROR(RunOne(w, c, &prepared, seconds));
        } else {
          figures_[w][c] = Rejected(w, c, refused);
        }
        progress->OnProgress(Phase::kSolving, static_cast<double>(++done_) / all);
      }
    }
    return absl::OkStatus();
  }

  absl::Status RunOne(int w, int c, Prepared* prepared, StageSeconds* seconds) {
    const int index = shape_.tensors.weights[w], position = prepared->position[w];
    WeightJob task;
    task.name = job_.tensors[index].name;
    task.spec = job_.candidates[c];
    task.inputs = &prepared->inputs.weights[position];
    task.index = position;
    task.group = prepared->solver.get();
    task.layout = layout_;
    task.with_baseline = false;
    task.source_energies = &prepared->energies[position];
    QUANTD_ASSIGN_OR_RETURN(WeightResult run, RunBest(task, *executor_, *cancel_, [](int64_t) {}));
    run.report.source_digest = digests_[index];
    Degrade(prepared->solver->degraded(), &run.report);
    seconds->solve += run.solve_seconds;
    seconds->measure += run.measure_seconds;
    figures_[w][c] = std::move(run.report);
    return absl::OkStatus();
  }

  TensorReport Rejected(int w, int c, const OutcomeReason& reason) const {
    const int index = shape_.tensors.weights[w];
    TensorReport report = RejectedReport(job_.tensors[index], digests_[index], reason);
    report.spec = job_.candidates[c];
    return report;
  }

  const MeasureJob job_;
  const MeasureShape shape_;
  const Layout* layout_;
  const Cost cost_;
  const std::string method_ = "measure";
  uint64_t elements_ = 0;

  Executor* executor_ = nullptr;
  const CancelToken* cancel_ = nullptr;
  JobIntake intake_;
  GroupInputs inputs_;
  std::vector<Digest> digests_;
  std::vector<OutcomeReason> left_out_;             // by weight: why, or empty
  std::vector<std::vector<TensorReport>> figures_;  // [weight][candidate]
  int64_t done_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Job>> Job::Create(MeasureJob job, const JobLimits& limits,
                                                 int width) {
  QUANTD_RETURN_IF_ERROR(InitBlas());
  QUANTD_ASSIGN_OR_RETURN(const Layout* layout, FindLayout(job.layout));
  QUANTD_ASSIGN_OR_RETURN(MeasureShape shape, CheckMeasure(job, *layout, limits));
  return std::unique_ptr<Job>(new MeasureJobImpl(std::move(job), std::move(shape), layout, width));
}

}  // namespace quantd
