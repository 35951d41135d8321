#include "workers/engine/job_watch.h"

#include <numeric>
#include <utility>

namespace quantd {
namespace {

constexpr double kBeamShare = 0.95;

}  // namespace

JobWatch::JobWatch(const Spec& spec, std::vector<int64_t> rows, ProgressSink* progress,
                   StateSink* states, JobState* state)
    : solve_share_(spec.solve.solver == Solver::kBeam ? kBeamShare : 0),
      rows_(std::move(rows)),
      total_(std::accumulate(rows_.begin(), rows_.end(), int64_t{0})),
      progress_(progress),
      states_(states),
      state_(state) {}

void JobWatch::Begin(int weight) {
  weight_ = weight;
  before_ = std::accumulate(rows_.begin(), rows_.begin() + weight, int64_t{0});
  done_ = 0;
}

void JobWatch::OnRows(int64_t count) {
  const double part =
      static_cast<double>(done_.fetch_add(count) + count) / static_cast<double>(rows_[weight_]);
  Tell(solve_share_ + (1 - solve_share_) * part);
}

void JobWatch::OnRound(int round, double relative_loss) {
  progress_->OnRound(weight_, round, relative_loss);
}

void JobWatch::OnFraction(double fraction) { Tell(solve_share_ * fraction); }

void JobWatch::OnState(std::string state) {
  if (states_ == nullptr) return;
  state_->Set(weight_, std::move(state));
  if (states_->Due()) states_->Save(state_->Compose());
}

void JobWatch::Tell(double of_weight) const {
  const double done =
      static_cast<double>(before_) + static_cast<double>(rows_[weight_]) * of_weight;
  progress_->OnProgress(Phase::kSolving, done / static_cast<double>(total_));
}

}  // namespace quantd
