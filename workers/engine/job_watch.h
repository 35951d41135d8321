// What a job under way tells: progress over all of its weights, rounds, and states.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "workers/core/progress.h"
#include "workers/core/solve_watch.h"
#include "workers/core/spec.h"
#include "workers/engine/job_state.h"

namespace quantd {

// One for all weights of a job, which are solved one after the other. A weight counts by its rows;
// of its share, solvers that go in rounds take most, and passes over its rows the rest.
class JobWatch : public SolveWatch {
 public:
  // `rows` of each weight. `states` may be null: then none are collected. `state` is added to; all
  // outlive this.
  JobWatch(const Spec& spec, std::vector<int64_t> rows, ProgressSink* progress, StateSink* states,
           JobState* state);

  // Weight `weight` comes next; those before it are done with.
  void Begin(int weight);
  // `count` more rows of the weight are finished. Any thread.
  void OnRows(int64_t count);

  void OnRound(int round, double relative_loss) override;
  void OnFraction(double fraction) override;
  bool WantsStates() override { return states_ != nullptr; }
  bool StateDue() override { return states_ != nullptr && states_->Due(); }
  void OnState(std::string state) override;

 private:
  void Tell(double of_weight) const;

  const double solve_share_;  // of a weight's time, before its first rows are finished
  const std::vector<int64_t> rows_;
  int64_t total_ = 0;
  ProgressSink* const progress_;
  StateSink* const states_;
  JobState* const state_;
  int weight_ = 0;
  int64_t before_ = 0;  // rows of the weights before it
  std::atomic<int64_t> done_{0};
};

}  // namespace quantd
