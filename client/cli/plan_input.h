// What a plan measures: the layers of a checkpoint, the candidates that fit each, and how they
// travel. Settled before the first byte is sent.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/candidates.h"
#include "client/cli/command_line.h"
#include "client/files/checkpoint.h"
#include "client/files/statistics.h"
#include "client/lib/stop.h"
#include "workers/core/digest.h"
#include "workers/pack/layout.h"

namespace quantd::cli {

// A linear layer whose precision is planned.
struct InputLayer {
  std::string module;
  const CheckpointTensor* tensor = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<uint8_t> fits;  // by candidate: neither its groups nor the layout object
  std::string kept;           // why it stays as it is, whatever the plan; else empty
  bool left_out = false;      // the reason is a pattern of the user's
  // By candidate: what quantize would send with it, and the name of its figures in a frontier.
  std::vector<std::vector<Statistic>> statistics;
  std::vector<std::string> keys;
  std::string shared;  // digest of the statistics that other layers may share; empty: none
  Digest source;       // of the weight's bytes

  uint64_t parameters() const { return static_cast<uint64_t>(rows) * static_cast<uint64_t>(cols); }
  uint64_t dense_bytes() const { return tensor->stored->size(); }
};

// Not movable: layers point into the checkpoint.
struct PlanInput {
  PlanInput(Checkpoint c, const Layout* l) : checkpoint(std::move(c)), layout(l) {}
  PlanInput(const PlanInput&) = delete;
  PlanInput& operator=(const PlanInput&) = delete;

  Checkpoint checkpoint;
  const Layout* layout;
  std::unique_ptr<Statistics> statistics;  // null without --statistics
  std::vector<Candidate> candidates;
  std::vector<InputLayer> layers;        // in the checkpoint's order
  std::vector<std::vector<int>> groups;  // layers that travel together
  std::vector<std::string> warnings;
  // Everything that is not planned: embeddings, norms, heads ... as it is stored.
  uint64_t other_parameters = 0;
  uint64_t other_bytes = 0;

  uint64_t parameters() const;  // of the whole model
};

// INVALID_ARGUMENT, NOT_FOUND or FAILED_PRECONDITION naming tensor, field and value; CANCELLED when
// `stop` comes while bytes are read.
absl::StatusOr<std::unique_ptr<PlanInput>> MakePlanInput(const PlanFlags& flags,
                                                         const client::StopSource& stop);

}  // namespace quantd::cli
