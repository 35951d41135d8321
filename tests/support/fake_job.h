// A Job whose every answer a test decides.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/session/options.h"
#include "workers/engine/engine.h"

namespace quantd::testing {

// What fake jobs do, and what they saw. Outlives them.
struct FakeJobPlan {
  Cost cost;
  std::vector<TensorDecl> inputs;
  std::string method = "rtn";
  std::function<void(const JobHeader&)> on_header;  // may be empty
  absl::Status create;
  absl::Status begin;
  absl::Status write;
  // Empty: one output of `output_bytes` bytes for weight 0, byte i = i % 251, and one OK report.
  std::function<absl::StatusOr<JobResult>(const RunContext&)> run;
  uint64_t output_bytes = 100;

  std::atomic<int> live{0};  // jobs that exist
  std::atomic<int> begins{0};
  std::atomic<int> runs{0};
  std::atomic<uint64_t> written{0};
};

// One weight of `input_bytes` U8 elements, predicted peak `peak_bytes`, 10 s of work.
std::unique_ptr<FakeJobPlan> MakePlan(uint64_t input_bytes, uint64_t peak_bytes);

// Makes FakeJobs of this plan whatever the header, which on_header is shown, says.
JobFactory FactoryOf(FakeJobPlan* plan);

// `bytes` of tensor `weight` and its report, all OK.
JobResult ResultOf(uint64_t bytes, int weights = 1);

// As Measure's: "w0" under all candidates, then "w1"; all OK.
JobResult MeasuredOf(int weights, int candidates);

}  // namespace quantd::testing
