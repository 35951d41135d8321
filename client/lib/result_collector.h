// Response frames of one attempt -> a checked answer.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/lib/job_client.h"
#include "client/lib/state_assembler.h"
#include "proto/wire/assembler.h"

namespace quantd::client {

// Knows the response grammar: Accepted first, states before results, each tensor announced before
// its chunks, Final last. Not thread-safe.
class ResultCollector {
 public:
  // `weight_names`: of the request, in its order.
  explicit ResultCollector(std::vector<std::string> weight_names);
  ~ResultCollector();

  // INTERNAL for a frame that the grammar does not allow here; the Assembler's errors for chunks,
  // the StateAssembler's for pieces of states.
  absl::Status Add(wire::ResponseFrame frame);

  // The state that the last Add() completed, if it did; given away.
  std::optional<std::string> TakeState() { return std::exchange(state_, std::nullopt); }

  // Call when the stream has ended with OK. UNAVAILABLE without Final; DATA_LOSS for tensors that
  // are short or fail their digest or the report's; INTERNAL when a delivered weight has no tensor.
  absl::StatusOr<JobAnswer> Finish();

 private:
  struct Incoming;

  absl::Status AddTensor(wire::ResultTensorFrame frame);
  absl::Status AddChunk(wire::ChunkFrame chunk);
  absl::Status AddState(wire::JobStateFrame piece);
  absl::Status CheckAgainstReport() const;

  std::vector<std::string> weight_names_;
  std::vector<std::unique_ptr<Incoming>> incoming_;  // in the order announced
  std::map<uint32_t, Incoming*> by_index_;
  std::vector<TensorReport> reports_;
  StateAssembler states_;
  std::optional<std::string> state_;
  JobAnswer answer_;
  bool accepted_ = false;
  bool final_ = false;
};

}  // namespace quantd::client
