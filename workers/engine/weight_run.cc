#include "workers/engine/weight_run.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/compose/basis.h"
#include "workers/compose/plan.h"
#include "workers/compose/row_order.h"
#include "workers/compose/solve_scratch.h"
#include "workers/core/scratch_pool.h"
#include "workers/core/shape.h"
#include "workers/core/status_macros.h"
#include "workers/engine/baseline.h"
#include "workers/engine/finite.h"
#include "workers/engine/weight_totals.h"
#include "workers/levels/decode.h"
#include "workers/linalg/convert.h"

namespace quantd {
namespace {

constexpr float kLargestF16 = 65504.0f;

// Arrays of one thread.
struct Scratch {
  std::vector<float> source;   // [rows, n] when rows cannot be read in place
  std::vector<float> decoded;  // [rows, n]; turned into the error for the energies
  Coded coded, unpacked, baseline;
  SolveScratch solve;
};

class WeightRun {
 public:
  WeightRun(const WeightJob& job, Executor& executor, const CancelToken& cancel)
      : job_(job),
        spec_(job.spec),
        view_(job.inputs->weight),
        executor_(executor),
        cancel_(cancel),
        m_(view_.m),
        n_(view_.n),
        with_energy_(job.group->has_energy()),
        plan_(PlanStripes(spec_, m_, n_, job.layout->StripeGranule(spec_), with_energy_)),
        order_(spec_, m_) {}

  absl::StatusOr<WeightResult> Run(const std::function<void(int64_t)>& on_rows) {
    const SteadyClock::time_point start = SteadyClock::now();
    on_rows_ = &on_rows;
    QUANTD_RETURN_IF_ERROR(Inspect());
    if (!refused_.empty()) return Refused();
    QUANTD_RETURN_IF_ERROR(Prepare());
    // One set of parameters for all rows is packed with the first of them, outliers with the last.
    const bool in_one_pass = !spec_.exceptions.stores_outliers() &&
                             spec_.partition.granularity != Granularity::kTensor &&
                             plan_.solve_rows == plan_.measure_rows;
    std::vector<StripeResult> stripes(CeilDiv(m_, plan_.measure_rows));
    known_energies_ = job_.source_energies != nullptr &&
                      job_.source_energies->of_stripe.size() == stripes.size() &&
                      job_.source_energies->stripe_rows == plan_.measure_rows;
    QUANTD_RETURN_IF_ERROR(in_one_pass ? SolveAndMeasure(&stripes) : SolveThenMeasure(&stripes));
    WeightTotals totals(job_.name, spec_, m_, n_);
    QUANTD_ASSIGN_OR_RETURN(WeightResult result,
                            totals.Collect(stripes, *job_.group, Baseline(), SecondsSince(start)));
    if (result.report.outcome == Outcome::kRejected) return result;
    KeepEnergies(stripes);
    for (std::string& note : solver_->notes()) result.report.notes.push_back(std::move(note));
    totals.CountBytes(packed_, outliers_, solver_->shared(), &result.report);
    result.packed = std::move(packed_);
    return result;
  }

 private:
  BaselineFigures Baseline() const {
    if (!job_.with_baseline) return BaselineFigures::kNone;
    return is_baseline_ ? BaselineFigures::kOwn : BaselineFigures::kMeasured;
  }

  void KeepEnergies(const std::vector<StripeResult>& stripes) const {
    if (job_.source_energies == nullptr || known_energies_ || !with_energy_) return;
    job_.source_energies->stripe_rows = plan_.measure_rows;
    job_.source_energies->of_stripe.clear();
    for (const StripeResult& s : stripes) {
      job_.source_energies->of_stripe.push_back(s.source_energy);
    }
  }

  // Fits by whole weight must not meet NaN or infinity; simple specs find them while they solve.
  // What is stored as F16 as it is must be an F16 number.
  absl::Status Inspect() {
    const bool simple = spec_.levels.affine() && !spec_.exceptions.any() &&
                        !spec_.transform.any() &&
                        spec_.partition.granularity != Granularity::kTensor;
    if (simple) return absl::OkStatus();
    QUANTD_ASSIGN_OR_RETURN(const WeightExtent extent, ExtentOf(view_, executor_, cancel_));
    const Exceptions& e = spec_.exceptions;
    const bool as_f16 = e.stores_outliers() || e.kept_columns > 0 || e.recent_rows > 0 ||
                        (!spec_.levels.scaled() && spec_.storage.kind == StorageKind::kF16);
    if (extent.first_bad >= 0) {
      refused_ = NotFiniteReason(extent.first_bad, n_);
    } else if (as_f16 && extent.largest > kLargestF16) {
      refused_ = {OutcomeCause::kScaleRange,
                  absl::StrCat("weight of magnitude ", extent.largest,
                               " is beyond the largest f16, and would be stored as one")};
    } else if (spec_.levels.additive() && spec_.fit.kind != FitKind::kGiven) {
      return InspectScales();
    }
    return absl::OkStatus();
  }

  // Additive codes begin with norms for scales, which must be F16 numbers.
  absl::Status InspectScales() {
    const int64_t rows = spec_.levels.out_group, columns = spec_.partition.GroupColumns(n_);
    QUANTD_ASSIGN_OR_RETURN(const PatchNorm largest,
                            LargestPatchNorm(view_, rows, columns, executor_, cancel_));
    if (largest.norm > kLargestF16) {
      refused_ = {OutcomeCause::kScaleRange,
                  absl::StrCat("norm ", largest.norm, " of the ", rows, " x ", columns,
                               " weights from [", largest.row, ", ", largest.column,
                               "] is beyond the largest f16, and their scale is stored as one")};
    }
    return absl::OkStatus();
  }

  WeightResult Refused() const {
    WeightResult result;
    result.report.name = job_.name;
    result.report.rows = m_;
    result.report.cols = n_;
    Reject(refused_, &result.report);
    return result;
  }

  absl::Status Prepare() {
    QUANTD_ASSIGN_OR_RETURN(solver_, job_.group->BeginWeight(spec_, job_.index, plan_.solve_rows,
                                                             executor_, cancel_, job_.watch));
    is_baseline_ = IsBaseline(spec_);
    if (Baseline() == BaselineFigures::kMeasured) {
      QUANTD_ASSIGN_OR_RETURN(baseline_solver_,
                              job_.group->BeginWeight(BaselineOf(spec_), job_.index,
                                                      plan_.measure_rows, executor_, cancel_));
    }
    QUANTD_ASSIGN_OR_RETURN(packed_, AllocatePacked(*job_.layout, spec_, m_, n_));
    job_.layout->PackShared(spec_, m_, n_, solver_->shared(), absl::MakeSpan(packed_));
    QUANTD_ASSIGN_OR_RETURN(basis_, Basis::Create(spec_, solver_->shared(), m_, n_));
    return absl::OkStatus();
  }

  // What the packed bytes say of the whole weight must be what the solver meant.
  absl::Status CheckShared() {
    views_ = ViewsOf(packed_);
    QUANTD_ASSIGN_OR_RETURN(unpacked_shared_, job_.layout->UnpackShared(spec_, m_, n_, views_));
    if (unpacked_shared_ == solver_->shared()) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("tensor '", job_.name, "': layout ",
                                            job_.layout->name(),
                                            " does not give back what its rows share"));
  }

  // Each stripe is solved, packed and measured while it is in cache.
  absl::Status SolveAndMeasure(std::vector<StripeResult>* stripes) {
    QUANTD_RETURN_IF_ERROR(CheckShared());
    executor_.ParallelFor(static_cast<int64_t>(stripes->size()), [&](int64_t s) {
      if (cancel_.cancelled()) return;
      std::unique_ptr<Scratch> scratch = scratches_.Take();
      StripeResult* out = &(*stripes)[s];
      const int64_t row = s * plan_.solve_rows, rows = std::min(plan_.solve_rows, m_ - row);
      const SteadyClock::time_point start = SteadyClock::now();
      const float* w = SourceRows(row, rows, scratch.get());
      Solve(w, row, rows, &scratch->coded, scratch.get(), &out->facts);
      out->solve_seconds = SecondsSince(start);
      if (out->facts.fit.scale_overflow) {
        out->first_bad = FirstBad(w, row, rows);  // an infinity is the likelier reason
      } else if (!cancel_.cancelled()) {
        Measure(w, row, rows, scratch->coded, scratch.get(), out);
      }
      scratches_.Give(std::move(scratch));
      (*on_rows_)(rows);
    });
    return cancel_.Check();
  }

  // Outliers of all rows must be known before they can be packed, and rows that are solved together
  // are measured in smaller stripes.
  absl::Status SolveThenMeasure(std::vector<StripeResult>* stripes) {
    std::vector<Coded> coded(CeilDiv(m_, plan_.solve_rows));
    std::vector<RowFacts> facts(coded.size());
    std::vector<double> seconds(coded.size());
    executor_.ParallelFor(static_cast<int64_t>(coded.size()), [&](int64_t s) {
      if (cancel_.cancelled()) return;
      std::unique_ptr<Scratch> scratch = scratches_.Take();
      const int64_t row = s * plan_.solve_rows, rows = std::min(plan_.solve_rows, m_ - row);
      const SteadyClock::time_point start = SteadyClock::now();
      Solve(SourceRows(row, rows, scratch.get()), row, rows, &coded[s], scratch.get(), &facts[s]);
      seconds[s] = SecondsSince(start);
      scratches_.Give(std::move(scratch));
      (*on_rows_)(rows);
    });
    QUANTD_RETURN_IF_ERROR(cancel_.Check());
    scratches_.Clear();  // arrays of all rows, which no measure needs
    for (size_t s = 0; s < coded.size(); ++s) {
      // The first measured stripe of each solved one speaks for it.
      StripeResult& first = (*stripes)[s * (plan_.solve_rows / plan_.measure_rows)];
      first.facts = facts[s];
      first.solve_seconds = seconds[s];
      if (!facts[s].fit.scale_overflow) continue;
      const int64_t row = static_cast<int64_t>(s) * plan_.solve_rows;
      const int64_t rows = std::min(plan_.solve_rows, m_ - row);
      Scratch scratch;
      first.first_bad = FirstBad(SourceRows(row, rows, &scratch), row, rows);
      return absl::OkStatus();
    }
    if (spec_.exceptions.stores_outliers()) {
      outliers_ = Joined(coded);
      QUANTD_RETURN_IF_ERROR(
          job_.layout->PackOutliers(outliers_, spec_, m_, absl::MakeSpan(packed_)));
    }
    QUANTD_RETURN_IF_ERROR(CheckShared());
    executor_.ParallelFor(static_cast<int64_t>(stripes->size()), [&](int64_t s) {
      if (cancel_.cancelled()) return;
      std::unique_ptr<Scratch> scratch = scratches_.Take();
      const int64_t row = s * plan_.measure_rows, rows = std::min(plan_.measure_rows, m_ - row);
      StripeResult* out = &(*stripes)[s];
      out->facts.loss.reset();  // the solver's loss is of more rows than these
      Measure(SourceRows(row, rows, scratch.get()), row, rows, coded[row / plan_.solve_rows],
              scratch.get(), out);
      scratches_.Give(std::move(scratch));
    });
    return cancel_.Check();
  }

  void Solve(const float* w, int64_t row, int64_t rows, Coded* coded, Scratch* s, RowFacts* facts) {
    coded->Reshape(spec_, row, rows, m_, n_, &solver_->shared());
    *facts = solver_->SolveRows(w, coded, &s->solve, executor_, cancel_);
    if (cancel_.cancelled() || facts->fit.scale_overflow) return;
    job_.layout->PackRows(*coded, spec_, m_, absl::MakeSpan(packed_));
  }

  // Unpacks rows [row, row + rows), compares them with what was solved, and adds up their errors.
  void Measure(const float* w, int64_t row, int64_t rows, const Coded& solved, Scratch* s,
               StripeResult* out) {
    const SteadyClock::time_point start = SteadyClock::now();
    out->status =
        job_.layout->UnpackRows(spec_, m_, n_, views_, unpacked_shared_, row, rows, &s->unpacked);
    if (out->status.ok() && !solved.Holds(s->unpacked)) {
      out->status = absl::InternalError(
          absl::StrCat("tensor '", job_.name, "': layout ", job_.layout->name(),
                       " does not give back rows from ", row, " as they were packed"));
    }
    if (!out->status.ok()) return;
    Decode(s->unpacked, w, s, &out->error);
    // One NaN or infinity makes the sum of squares one, so finite input needs no pass of its own.
    if (!std::isfinite(out->error.weight_square())) out->first_bad = FirstBad(w, row, rows);
    if (out->first_bad >= 0) return;
    if (with_energy_) {
      out->max_weight = MaxAbs(w, rows * n_);
      out->source_energy = known_energies_
                               ? job_.source_energies->of_stripe[row / plan_.measure_rows]
                               : job_.group->Energy(w, rows, &s->solve, cancel_);
      TurnIntoError(w, rows, s);
      out->error_energy =
          job_.group->ErrorEnergy(out->facts, s->decoded.data(), rows, &s->solve, cancel_);
      if (job_.group->has_drift()) {
        out->drift = job_.group->Drift(w, s->decoded.data(), rows, &s->solve, cancel_);
      }
    }
    if (Baseline() == BaselineFigures::kMeasured) MeasureBaseline(w, row, rows, s, out);
    out->measure_seconds = SecondsSince(start);
  }

  void MeasureBaseline(const float* w, int64_t row, int64_t rows, Scratch* s, StripeResult* out) {
    s->baseline.Reshape(baseline_solver_->spec(), row, rows, m_, n_, &baseline_solver_->shared());
    const RowFacts facts =
        baseline_solver_->SolveRows(w, &s->baseline, &s->solve, executor_, cancel_);
    out->no_baseline = facts.fit.scale_overflow;
    if (out->no_baseline) return;
    s->decoded.resize(rows * n_);
    for (int64_t r = 0; r < rows; ++r) {
      float* decoded = s->decoded.data() + r * n_;
      DecodeRow(s->baseline, r, decoded);
      out->baseline.AddCodedRow(s->baseline, r, w + r * n_, decoded);
    }
    if (!with_energy_) return;
    TurnIntoError(w, rows, s);
    out->baseline_energy = job_.group->Energy(s->decoded.data(), rows, &s->solve, cancel_);
  }

  const float* SourceRows(int64_t row, int64_t rows, Scratch* s) const {
    // Uploads lie in aligned buffers of their own, so F32 rows can be read in place.
    if (view_.dtype == DType::kF32 && order_.natural()) {
      return reinterpret_cast<const float*>(view_.bytes) + row * n_;
    }
    s->source.resize(rows * n_);
    order_.Read(view_, row, rows, s->source.data());
    return s->source.data();
  }

  int64_t FirstBad(const float* w, int64_t row, int64_t rows) const {
    const int64_t bad = FirstNonFinite(w, rows * n_);
    return bad < 0 ? -1 : order_.RowOf(row + bad / n_) * n_ + bad % n_;
  }

  static float MaxAbs(const float* w, int64_t count) {
    float m = 0;
    for (int64_t i = 0; i < count; ++i) m = std::max(m, std::abs(w[i]));
    return m;
  }

  // Decodes into s->decoded, in the uploaded basis, and adds the errors; row by row while a row is
  // in cache where the bases are one.
  void Decode(const Coded& coded, const float* w, Scratch* s, ErrorAccumulator* sums) const {
    s->decoded.resize(coded.rows * n_);
    for (int64_t r = 0; r < coded.rows; ++r) {
      float* row = s->decoded.data() + r * n_;
      DecodeRow(coded, r, row);
      if (!basis_.differs()) sums->AddCodedRow(coded, r, w + r * n_, row);
    }
    if (!basis_.differs()) return;
    basis_.Restore(coded.row_begin, coded.rows, s->decoded.data());
    sums->AddRows(w, s->decoded.data(), coded.rows, n_);
  }

  // s->decoded becomes W - W'.
  void TurnIntoError(const float* w, int64_t rows, Scratch* s) const {
    for (int64_t i = 0; i < rows * n_; ++i) s->decoded[i] = w[i] - s->decoded[i];
  }

  static OutlierTable Joined(const std::vector<Coded>& stripes) {
    OutlierTable all;
    all.begin.push_back(0);
    for (const Coded& c : stripes) {
      const int32_t base = all.begin.back();
      for (int64_t r = 1; r <= c.rows; ++r) {
        all.begin.push_back(base + (c.outliers.begin.empty() ? 0 : c.outliers.begin[r]));
      }
      all.column.insert(all.column.end(), c.outliers.column.begin(), c.outliers.column.end());
      all.value.insert(all.value.end(), c.outliers.value.begin(), c.outliers.value.end());
    }
    return all;
  }

  const WeightJob& job_;
  const Spec& spec_;
  const WeightView& view_;
  Executor& executor_;
  const CancelToken& cancel_;
  const int64_t m_;
  const int64_t n_;
  const bool with_energy_;
  const Stripes plan_;
  const RowOrder order_;
  const std::function<void(int64_t)>* on_rows_ = nullptr;
  OutcomeReason refused_;
  bool is_baseline_ = false;
  bool known_energies_ = false;
  std::unique_ptr<WeightSolver> solver_, baseline_solver_;
  Basis basis_;
  std::vector<PackedTensor> packed_;
  std::vector<PackedView> views_;
  CodedShared unpacked_shared_;
  OutlierTable outliers_;
  ScratchPool<Scratch> scratches_;
};

}  // namespace

absl::StatusOr<WeightResult> RunWeight(const WeightJob& job, Executor& executor,
                                       const CancelToken& cancel,
                                       const std::function<void(int64_t)>& on_rows) {
  return WeightRun(job, executor, cancel).Run(on_rows);
}

}  // namespace quantd
