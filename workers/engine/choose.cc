#include "workers/engine/choose.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "workers/core/status_macros.h"
#include "workers/methods/check.h"

namespace quantd {
namespace {

std::string NameOf(const Spec& asked, const Spec& candidate) {
  return asked.partition.axis == GroupAxis::kAdaptive
             ? std::string(GroupAxisName(candidate.partition.axis))
             : absl::StrCat(candidate.levels.bits, " bits");
}

// True if `next` shall replace `best`, the choice among the candidates before it.
bool Better(const Spec& asked, const TensorReport& next, const TensorReport& best,
            const TensorReport& first) {
  if (asked.partition.axis == GroupAxis::kAdaptive)
    return next.error.relative_error() < best.error.relative_error();
  return next.error.weight_mse <= asked.allocation.factor * first.error.weight_mse;
}

}  // namespace

absl::StatusOr<WeightResult> RunBest(const WeightJob& job, Executor& executor,
                                     const CancelToken& cancel,
                                     const std::function<void(int64_t)>& on_rows) {
  if (!IsAdaptive(job.spec)) return RunWeight(job, executor, cancel, on_rows);
  const WeightView& view = job.inputs->weight;
  WeightResult best, rejected;
  TensorReport first;
  std::vector<Candidate> tried;
  size_t chosen = 0;
  double solve = 0, measure = 0, seconds = 0;
  bool counted = false;
  for (const Spec& spec : CandidatesOf(job.spec, view.m, view.n)) {
    WeightJob one = job;
    one.spec = spec;
    // Progress counts each row once, with the first candidate.
    QUANTD_ASSIGN_OR_RETURN(WeightResult next,
                            RunWeight(one, executor, cancel, counted ? [](int64_t) {} : on_rows));
    counted = true;
    solve += next.solve_seconds;
    measure += next.measure_seconds;
    seconds += next.report.seconds;
    if (next.report.outcome == Outcome::kRejected) {  // another axis may still do
      if (rejected.report.reason.empty()) rejected = std::move(next);
      continue;
    }
    const bool is_first = tried.empty();
    tried.push_back(
        {NameOf(job.spec, spec), next.report.error, next.report.all_in_bits_per_weight, false});
    if (is_first) {
      first = next.report;
      best = std::move(next);
    } else if (Better(job.spec, next.report, best.report, first)) {
      chosen = tried.size() - 1;
      best = std::move(next);
    } else if (job.spec.allocation.kind == AllocationKind::kRoundOff) {
      break;  // fewer bits only add to the error
    }
  }
  if (tried.empty()) return rejected;
  tried[chosen].chosen = true;
  best.report.candidates = std::move(tried);
  best.report.seconds = seconds;
  best.solve_seconds = solve;
  best.measure_seconds = measure;
  return best;
}

}  // namespace quantd
