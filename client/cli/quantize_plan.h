// Everything about a quantization run that is settled before the first byte is sent.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/command_line.h"
#include "client/cli/recipe.h"
#include "client/files/checkpoint.h"
#include "client/files/fold.h"
#include "client/files/output_plan.h"
#include "client/files/selection.h"
#include "client/files/statistics.h"
#include "client/lib/channel.h"
#include "client/lib/queries.h"
#include "client/lib/stop.h"
#include "workers/core/job.h"

namespace quantd::cli {

// Modules that travel in one request: same spec, same statistics.
struct GroupPlan {
  std::vector<int> modules;           // indices into QuantizePlan::output.modules()
  std::vector<Statistic> statistics;  // sent with them, once: H, X ... or nothing
  // The modules share scales: they are always sent together, and never split.
  bool tied = false;
};

// Not movable: later objects point into earlier ones.
struct QuantizePlan {
  QuantizePlan(Checkpoint c, const Layout* l) : checkpoint(std::move(c)), layout(l) {}
  QuantizePlan(const QuantizePlan&) = delete;
  QuantizePlan& operator=(const QuantizePlan&) = delete;

  Checkpoint checkpoint;
  const Layout* layout;
  std::unique_ptr<Statistics> statistics;  // null without --statistics
  Selection selection;
  FoldPlan folds;  // of column scales
  std::unique_ptr<OutputPlan> output;
  std::vector<GroupPlan> groups;  // in the order of modules
  // By module: what is sent for its weight alone (FISHER, GRADIENT).
  std::map<std::string, std::vector<Statistic>> own_statistics;
  std::vector<std::string> left_behind;  // files of the source that are not copied
  int checkpoint_seconds = 0;            // between states of jobs that solve for long; 0: none

  int folded_modules() const;  // whose column scale a norm takes
};

// Reads headers, recipe and statistics and decides. INVALID_ARGUMENT, NOT_FOUND or
// FAILED_PRECONDITION naming tensor, field and value; several offending tensors are listed
// together.
// CANCELLED when `stop` comes while statistics are read.
absl::StatusOr<std::unique_ptr<QuantizePlan>> MakeQuantizePlan(const QuantizeFlags& flags,
                                                               const client::StopSource& stop);

// A request for some modules of a group (all of them, where it is tied), and the bytes of its
// tensors.
struct GroupRequest {
  QuantizeJob job;
  std::vector<absl::Span<const std::byte>> bytes;
};
GroupRequest MakeRequest(const QuantizePlan& plan, const std::vector<int>& modules,
                         const std::vector<Statistic>& statistics, const std::string& job_id);

// What the whole run needs, by the server's own prediction.
struct RunEstimate {
  uint64_t upload_bytes = 0;
  uint64_t result_bytes = 0;
  uint64_t largest_peak_bytes = 0;  // of one job
  uint64_t budget_bytes = 0;
  double seconds = 0;  // of work, one job after the other
  std::vector<double> group_seconds;
};

// Asks the server about each kind of group, once. Groups that do not fit its budget are split;
// RESOURCE_EXHAUSTED naming the weight when one alone, or a tied group, does not fit.
absl::StatusOr<RunEstimate> EstimateRun(QuantizePlan* plan, client::Connection* connection);

// "4 such servers 33 min, 16 9 min": how long requests of these `seconds` of work take on more
// servers, the longest ones first; empty for work of less than ten minutes. A request is not cut,
// so from some number on servers gain nothing, and none beyond it are told.
std::string ServersText(std::vector<double> seconds);

// What is quantized, what stays and why, what it will cost. `verbose`: every tensor by name, else
// layers that differ only by a number share a line.
std::string DescribePlan(const QuantizePlan& plan, const RunEstimate& estimate, bool verbose);

}  // namespace quantd::cli
