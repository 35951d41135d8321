#include "workers/engine/weight_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/levels/affine.h"
#include "workers/linalg/convert.h"
#include "workers/measure/error_accumulator.h"
#include "workers/methods/rtn.h"

namespace quantd {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

// Arrays of one thread.
struct Scratch {
  std::vector<float> source;   // [rows, n] when the upload is not F32
  std::vector<float> decoded;  // [rows, n]; turned into the error for the energies
  Coded coded, unpacked;
  SolveScratch solve;
};

// As many scratches as threads ever work at once.
class ScratchPool {
 public:
  std::unique_ptr<Scratch> Take() {
    absl::MutexLock lock(&mutex_);
    if (free_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> s = std::move(free_.back());
    free_.pop_back();
    return s;
  }
  void Give(std::unique_ptr<Scratch> s) {
    absl::MutexLock lock(&mutex_);
    free_.push_back(std::move(s));
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_ ABSL_GUARDED_BY(mutex_);
};

struct StripeResult {
  ErrorAccumulator error, baseline;
  double source_energy = 0, error_energy = 0, baseline_energy = 0;
  RowFacts facts;
  float max_weight = 0;
  int64_t first_bad = -1;  // element of the weight
  absl::Status status;
  double solve_seconds = 0, measure_seconds = 0;
};

// The baseline: same levels and groups, min-max, rounded to nearest.
Spec BaselineSpec(const Spec& spec) {
  Spec b = RtnMethod().Defaults();
  b.levels = spec.levels;
  b.partition = spec.partition;
  b.scale_dtype = spec.scale_dtype;
  return b;
}

class WeightRun {
 public:
  WeightRun(const WeightJob& job, Executor& executor, const CancelToken& cancel)
      : job_(job),
        spec_(*job.spec),
        baseline_spec_(BaselineSpec(spec_)),
        executor_(executor),
        cancel_(cancel),
        m_(job.view.m),
        n_(job.view.n),
        stripe_rows_(job.method->StripeRows(m_, n_, job.with_hessian)) {
    // Plain min-max RTN is its own baseline.
    has_own_baseline_ = spec_.solve.solver == Solver::kRtn && spec_.fit.kind == FitKind::kMinMax;
  }

  absl::StatusOr<WeightResult> Run(const std::function<void(int64_t)>& on_rows) {
    const SteadyClock::time_point start = SteadyClock::now();
    QUANTD_ASSIGN_OR_RETURN(fit_,
                            WeightFit::Create(spec_, job_.view, stripe_rows_, executor_, cancel_));
    if (!has_own_baseline_) {
      QUANTD_ASSIGN_OR_RETURN(baseline_fit_, WeightFit::Create(baseline_spec_, job_.view,
                                                               stripe_rows_, executor_, cancel_));
      QUANTD_ASSIGN_OR_RETURN(baseline_solver_,
                              RtnMethod().Prepare(baseline_spec_, nullptr, executor_, cancel_));
    }
    QUANTD_ASSIGN_OR_RETURN(packed_, AllocatePacked(*job_.layout, spec_, m_, n_));
    const std::vector<int32_t> groups = job_.solver->GroupOfColumn();
    job_.layout->PackShared(spec_, m_, n_, groups, absl::MakeSpan(packed_));
    views_ = ViewsOf(packed_);

    std::vector<StripeResult> stripes(CeilDiv(m_, stripe_rows_));
    executor_.ParallelFor(static_cast<int64_t>(stripes.size()), [&](int64_t s) {
      if (cancel_.cancelled()) return;
      std::unique_ptr<Scratch> scratch = scratches_.Take();
      const int64_t row = s * stripe_rows_, rows = std::min(stripe_rows_, m_ - row);
      RunStripe(row, rows, scratch.get(), &stripes[s]);
      scratches_.Give(std::move(scratch));
      on_rows(rows);
    });
    QUANTD_RETURN_IF_ERROR(cancel_.Check());
    return Collect(stripes, SecondsSince(start));
  }

 private:
  void RunStripe(int64_t row, int64_t rows, Scratch* s, StripeResult* out) {
    const SteadyClock::time_point start = SteadyClock::now();
    const float* w = SourceRows(row, rows, s);
    s->coded.Reshape(spec_, row, rows, n_);
    out->facts = job_.solver->SolveRows(fit_, w, &s->coded, &s->solve, cancel_);
    if (cancel_.cancelled()) return;
    if (out->facts.fit.scale_overflow) {
      out->first_bad = FirstBad(w, row, rows);  // an infinity is the likelier reason
      return;
    }
    job_.layout->PackRows(s->coded, spec_, m_, absl::MakeSpan(packed_));
    out->status = job_.layout->UnpackRows(spec_, m_, n_, views_, row, rows, &s->unpacked);
    if (out->status.ok()) out->status = CheckUnpacked(s->coded, s->unpacked);
    if (!out->status.ok()) return;
    Decode(s->unpacked, w, s, &out->error);
    // One NaN or infinity makes the sum of squares one, so finite input needs no pass of its own.
    if (!std::isfinite(out->error.weight_square())) out->first_bad = FirstBad(w, row, rows);
    if (out->first_bad >= 0) return;
    out->solve_seconds = SecondsSince(start);
    if (job_.with_hessian) {
      out->max_weight = MaxAbs(w, rows * n_);
      out->source_energy = Energy(w, rows, s);
      TurnIntoError(w, rows, s);
      out->error_energy =
          job_.solver->ErrorEnergy(out->facts, s->decoded.data(), rows, &s->solve, cancel_);
    }
    if (!has_own_baseline_) {
      s->coded.Reshape(baseline_spec_, row, rows, n_);
      baseline_solver_->SolveRows(baseline_fit_, w, &s->coded, &s->solve, cancel_);
      Decode(s->coded, w, s, &out->baseline);
      if (job_.with_hessian) {
        TurnIntoError(w, rows, s);
        out->baseline_energy = Energy(s->decoded.data(), rows, s);
      }
    }
    out->measure_seconds = SecondsSince(start) - out->solve_seconds;
  }

  const float* SourceRows(int64_t row, int64_t rows, Scratch* s) const {
    // Uploads lie in aligned buffers of their own, so F32 rows can be read in place.
    if (job_.view.dtype == DType::kF32) {
      return reinterpret_cast<const float*>(job_.view.bytes) + row * n_;
    }
    s->source.resize(rows * n_);
    job_.view.ReadRows(row, rows, s->source.data());
    return s->source.data();
  }

  int64_t FirstBad(const float* w, int64_t row, int64_t rows) const {
    const int64_t bad = FirstNonFinite(w, rows * n_);
    return bad < 0 ? -1 : row * n_ + bad;
  }

  static float MaxAbs(const float* w, int64_t count) {
    float m = 0;
    for (int64_t i = 0; i < count; ++i) m = std::max(m, std::abs(w[i]));
    return m;
  }

  // Decodes into s->decoded, row by row while a row is in cache, and adds the errors.
  void Decode(const Coded& coded, const float* w, Scratch* s, ErrorAccumulator* sums) const {
    s->decoded.resize(coded.rows * n_);
    for (int64_t r = 0; r < coded.rows; ++r) {
      float* row = s->decoded.data() + r * n_;
      DequantizeRow(coded, r, row);
      sums->AddCodedRow(coded, r, w + r * n_, row);
    }
  }

  double Energy(const float* a, int64_t rows, Scratch* s) const {
    return job_.solver->Energy(a, rows, &s->solve, cancel_);
  }

  // s->decoded becomes W - W'.
  void TurnIntoError(const float* w, int64_t rows, Scratch* s) const {
    for (int64_t i = 0; i < rows * n_; ++i) s->decoded[i] = w[i] - s->decoded[i];
  }

  // A layout that does not give back what the solver chose would corrupt the checkpoint in silence.
  absl::Status CheckUnpacked(const Coded& coded, const Coded& unpacked) const {
    const bool same = coded.codes == unpacked.codes && coded.scales == unpacked.scales &&
                      coded.zeros == unpacked.zeros &&
                      coded.group_of_column == unpacked.group_of_column;
    if (same) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("tensor '", job_.name, "': layout ",
                                            job_.layout->name(), " does not give back rows from ",
                                            coded.row_begin, " as they were packed"));
  }

  absl::StatusOr<WeightResult> Collect(const std::vector<StripeResult>& stripes, double wall) {
    WeightResult result;
    TensorReport& report = result.report;
    report.name = job_.name;
    report.rows = m_;
    report.cols = n_;
    report.seconds = wall;
    report.outcome = Outcome::kOk;
    double solve = 0, measure = 0;
    for (const StripeResult& s : stripes) {
      QUANTD_RETURN_IF_ERROR(s.status);
      solve += s.solve_seconds;
      measure += s.measure_seconds;
    }
    result.measure_seconds = solve + measure > 0 ? wall * measure / (solve + measure) : 0;
    result.solve_seconds = wall - result.measure_seconds;

    report.reason = RejectReason(stripes);
    if (!report.reason.empty()) {
      report.outcome = Outcome::kRejected;
      return result;
    }
    FillMeasures(stripes, &report);
    uint64_t bytes = 0;
    for (const PackedTensor& t : packed_) bytes += t.bytes.size();
    report.code_bits_per_weight = spec_.levels.bits;
    report.all_in_bits_per_weight =
        8.0 * static_cast<double>(bytes) / (static_cast<double>(m_) * static_cast<double>(n_));
    result.packed = std::move(packed_);
    return result;
  }

  std::string RejectReason(const std::vector<StripeResult>& stripes) const {
    for (const StripeResult& s : stripes) {
      if (s.first_bad >= 0) {
        return absl::StrCat("weight is not finite at [", s.first_bad / n_, ", ", s.first_bad % n_,
                            "]");
      }
    }
    for (const StripeResult& s : stripes) {
      if (s.facts.fit.scale_overflow) {
        return absl::StrCat("scale of row ", s.facts.fit.row, ", group ", s.facts.fit.group,
                            " is beyond the largest ", DTypeName(spec_.scale_dtype),
                            "; store scales as BF16 or F32");
      }
    }
    return "";
  }

  void FillMeasures(const std::vector<StripeResult>& stripes, TensorReport* report) const {
    ErrorAccumulator error, baseline;
    double source_energy = 0, error_energy = 0, baseline_energy = 0;
    float compensated = 0, weight = 0;
    for (const StripeResult& s : stripes) {  // in order: the sums must not depend on threads
      error.Merge(s.error);
      baseline.Merge(s.baseline);
      source_energy += s.source_energy;
      error_energy += s.error_energy;
      baseline_energy += s.baseline_energy;
      compensated = std::max(compensated, s.facts.max_compensated);
      weight = std::max(weight, s.max_weight);
    }
    report->error = error.Finish(m_, n_);
    if (source_energy > 0) report->error.output_relative_error = error_energy / source_energy;
    if (has_own_baseline_) {
      report->rtn_baseline = report->error;
    } else {
      report->rtn_baseline = baseline.Finish(m_, n_);
      if (source_energy > 0) {
        report->rtn_baseline->output_relative_error = baseline_energy / source_energy;
      }
    }
    report->solver = job_.solver->facts();
    if (report->solver.has_value() && weight > 0) report->solver->growth = compensated / weight;
  }

  const WeightJob& job_;
  const Spec& spec_;
  const Spec baseline_spec_;
  Executor& executor_;
  const CancelToken& cancel_;
  const int64_t m_;
  const int64_t n_;
  const int64_t stripe_rows_;
  bool has_own_baseline_ = false;
  WeightFit fit_, baseline_fit_;
  std::unique_ptr<GroupSolver> baseline_solver_;
  std::vector<PackedTensor> packed_;
  std::vector<PackedView> views_;
  ScratchPool scratches_;
};

}  // namespace

absl::StatusOr<WeightResult> RunWeight(const WeightJob& job, Executor& executor,
                                       const CancelToken& cancel,
                                       const std::function<void(int64_t)>& on_rows) {
  return WeightRun(job, executor, cancel).Run(on_rows);
}

}  // namespace quantd
