#include "workers/engine/weight_totals.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"

namespace quantd {

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

OutcomeReason NotFiniteReason(int64_t element, int64_t n) {
  return {OutcomeCause::kNotFinite,
          absl::StrCat("weight is not finite at [", element / n, ", ", element % n, "]")};
}

TensorReport RejectedReport(const TensorDecl& weight, const Digest& source, OutcomeReason reason) {
  TensorReport report;
  report.name = weight.name;
  Reject(std::move(reason), &report);
  report.rows = weight.shape[0];
  report.cols = weight.shape[1];
  report.source_digest = source;
  return report;
}

void Reject(OutcomeReason reason, TensorReport* report) {
  report->outcome = Outcome::kRejected;
  report->cause = reason.cause;
  report->reason = std::move(reason.text);
}

void Degrade(OutcomeReason reason, TensorReport* report) {
  if (reason.empty() || report->outcome != Outcome::kOk) return;
  report->outcome = Outcome::kDegraded;
  report->cause = reason.cause;
  report->reason = std::move(reason.text);
}

absl::StatusOr<WeightResult> WeightTotals::Collect(const std::vector<StripeResult>& stripes,
                                                   const GroupSolver& group,
                                                   BaselineFigures baseline,
                                                   double wall_seconds) const {
  WeightResult result;
  TensorReport& report = result.report;
  report.name = name_;
  report.rows = m_;
  report.cols = n_;
  report.spec = spec_;
  report.seconds = wall_seconds;
  report.outcome = Outcome::kOk;
  double solve = 0, measure = 0;
  for (const StripeResult& s : stripes) {
    QUANTD_RETURN_IF_ERROR(s.status);
    solve += s.solve_seconds;
    measure += s.measure_seconds;
  }
  result.measure_seconds = solve + measure > 0 ? wall_seconds * measure / (solve + measure) : 0;
  result.solve_seconds = wall_seconds - result.measure_seconds;
  if (OutcomeReason reason = RejectReason(stripes); !reason.empty()) {
    Reject(std::move(reason), &report);
    return result;
  }
  report.notes = group.notes();
  FillMeasures(stripes, group, baseline, &report);
  return result;
}

OutcomeReason WeightTotals::RejectReason(const std::vector<StripeResult>& stripes) const {
  for (const StripeResult& s : stripes) {
    if (s.first_bad >= 0) return NotFiniteReason(s.first_bad, n_);
  }
  for (const StripeResult& s : stripes) {
    if (s.facts.fit.scale_overflow) {
      return {OutcomeCause::kScaleRange,
              absl::StrCat("scale of row ", s.facts.fit.row, ", group ", s.facts.fit.group,
                           " is beyond the largest ", StorageKindName(spec_.storage.kind),
                           "; store scales as bf16 or f32")};
    }
  }
  return {};
}

void WeightTotals::FillMeasures(const std::vector<StripeResult>& stripes, const GroupSolver& group,
                                BaselineFigures baseline_figures, TensorReport* report) const {
  ErrorAccumulator error, baseline;
  double source_energy = 0, error_energy = 0, baseline_energy = 0, drift = 0;
  float compensated = 0, weight = 0;
  for (const StripeResult& s : stripes) {
    error.Merge(s.error);
    baseline.Merge(s.baseline);
    source_energy += s.source_energy;
    error_energy += s.error_energy;
    baseline_energy += s.baseline_energy;
    drift += s.drift;
    compensated = std::max(compensated, s.facts.max_compensated);
    weight = std::max(weight, s.max_weight);
  }
  report->error = error.Finish(m_, n_);
  if (source_energy > 0) report->error.output_relative_error = error_energy / source_energy;
  if (source_energy > 0 && group.has_drift()) report->drift_error = drift / source_energy;
  const bool no_baseline = std::any_of(stripes.begin(), stripes.end(),
                                       [](const StripeResult& s) { return s.no_baseline; });
  if (no_baseline) {
    report->notes.push_back("no RTN baseline: a scale of it is beyond its storage");
  } else if (baseline_figures == BaselineFigures::kMeasured) {
    report->rtn_baseline = baseline.Finish(m_, n_);
    if (source_energy > 0) {
      report->rtn_baseline->output_relative_error = baseline_energy / source_energy;
    }
  } else if (baseline_figures == BaselineFigures::kOwn) {
    report->rtn_baseline = report->error;
  }
  if (spec_.solve.solver == Solver::kGptq) report->solver = group.facts();
  if (report->solver.has_value() && weight > 0) report->solver->growth = compensated / weight;
}

double WeightTotals::CodeBits(const CodedShared& shared) const {
  if (spec_.levels.kind == LevelKind::kCluster) return 7.0 / 3.0;
  if (spec_.levels.additive()) return spec_.levels.additive_bits();
  if (shared.column_bits.empty()) return spec_.levels.bits;
  return static_cast<double>(
             std::accumulate(shared.column_bits.begin(), shared.column_bits.end(), int64_t{0})) /
         static_cast<double>(n_);
}

void WeightTotals::CountBytes(const std::vector<PackedTensor>& packed, const OutlierTable& outliers,
                              const CodedShared& shared, TensorReport* report) const {
  const double weights = static_cast<double>(m_) * static_cast<double>(n_);
  uint64_t bytes = 0;
  for (const PackedTensor& t : packed) bytes += t.bytes.size();
  report->code_bits_per_weight = CodeBits(shared);
  report->all_in_bits_per_weight = 8.0 * static_cast<double>(bytes) / weights;
  const int64_t recent = std::min(spec_.exceptions.recent_rows, m_);
  const double kept = static_cast<double>(shared.kept_columns.size()) * static_cast<double>(m_) +
                      static_cast<double>(recent) * static_cast<double>(n_);
  report->outlier_share = (static_cast<double>(outliers.value.size()) + kept) / weights;
}

}  // namespace quantd
