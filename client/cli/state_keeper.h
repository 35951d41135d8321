// What a run does so that solves of hours survive: states that the server sends are stored in the
// output folder, and requests go on from them.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/cli/progress_display.h"
#include "client/cli/quantize_plan.h"
#include "client/files/work_area.h"
#include "client/lib/job_client.h"
#include "client/lib/retry.h"
#include "client/telemetry/run_listener.h"

namespace quantd::cli {

// The newest state of every job that is not finished, one file each in the folder's work area. A
// job is known by the modules that it makes (indices into the plan, not empty); that the folder
// belongs to the plan is the journal's business. Thread-safe for different jobs.
class StateKeeper {
 public:
  // `display` outlives the keeper.
  StateKeeper(const std::string& out_dir, ProgressDisplay* display);

  // The newest state of the job; nothing without one. One that is damaged or of other modules is
  // told, removed and taken for none. `name` is what messages call the job.
  std::optional<StoredState> Newest(absl::Span<const int> modules, const std::string& name);

  // Stores a newer one in its place; on disk when it returns. A run goes on without states where
  // they cannot be stored: the first failure is told, and false returned for each.
  bool Keep(absl::Span<const int> modules, const std::string& name, const std::string& state);

  // The job is finished, or its state is no good.
  void Drop(absl::Span<const int> modules);

 private:
  WorkArea work_;
  ProgressDisplay* const display_;
  std::atomic<bool> failure_told_{false};
};

// The request as one that goes on from `state`, which must outlive its bytes.
void AddCheckpoint(const StoredState& state, GroupRequest* request);

// The call failed because of its CHECKPOINT and may do without: it does not fit the request or the
// server's build, or the request with it does not fit the server's budget.
bool RefusesCheckpoint(const client::AttemptFailure& failure);

// One attempt of one job: tells how far its solve is, and keeps its states.
class GroupObserver : public client::JobObserver {
 public:
  // `index` names the job to the listeners, which are told its `size`. `modules` and the
  // other objects outlive the observer, at the end of which the listeners are told that it is over.
  GroupObserver(int index, client::JobSize size, absl::Span<const int> modules, std::string name,
                const client::RunListeners* listeners, StateKeeper* keeper);
  ~GroupObserver() override;

  void OnProgress(const wire::ProgressFrame& frame) override;
  bool OnState(std::string state) override;

 private:
  const int index_;
  const client::JobSize size_;
  const absl::Span<const int> modules_;
  const std::string name_;
  const client::RunListeners* const listeners_;
  StateKeeper* const keeper_;
};

}  // namespace quantd::cli
