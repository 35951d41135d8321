// What quantize and dequantize share: settings of calls, and how a run's end is told.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/command_line.h"
#include "client/cli/environment.h"
#include "client/cli/progress_display.h"
#include "client/files/output_writer.h"
#include "client/files/quantization_config.h"
#include "client/files/safetensors_reader.h"
#include "client/lib/stop.h"
#include "client/lib/submitter.h"
#include "workers/core/job.h"
#include "workers/core/tensor.h"

namespace quantd::cli {

client::SubmitOptions SubmitOptionsFrom(const ConnectionFlags& flags);

// Of one call: as asked, or ten times the predicted work and a slow network's time for the bytes,
// after what a full queue may take.
absl::Duration DeadlineFor(const ConnectionFlags& flags, double predicted_seconds, uint64_t bytes);

// Job ids of one run: "quantctl-<random>-<index>.<attempt>".
std::string NewRunId();
std::string JobId(const std::string& run_id, int index, int attempt);

// The order in which requests are sent, by their predicted `seconds`. Calls go to the replicas in
// turn, whatever these do: where large and small requests alternate as in a model's layers, some
// replicas would get all the large ones. Like ones after each other go to all alike, and the run
// ends with the small ones, so that no replica works on alone.
template <typename Request>
void LongestFirst(std::vector<Request>* requests) {
  std::stable_sort(requests->begin(), requests->end(),
                   [](const Request& a, const Request& b) { return a.seconds > b.seconds; });
}

// A stored tensor as a request declares it, without digest.
TensorDecl DeclOf(const StoredTensor& stored, Role role);

// A module of a quantized folder as a Dequantize request declares it.
PackedWeight PackedWeightOf(const QuantizedModule& module);

// Tells about a retry where it matters: always when the server is away, else when `verbose`.
client::Submitter::OnRetry TellRetries(ProgressDisplay* display, bool verbose);

// OutputWriter's CopyTensors and Finish; CANCELLED when a stop comes while tensors are copied.
absl::Status CopyAndFinish(OutputWriter* writer, const client::StopSource& stop);

// Prints why a run ended early and how to go on; returns the exit code. `done` of `total` layers
// are safe in the folder; `has_folder`: there is something to resume.
int EndEarly(const absl::Status& status, int done, int total, bool has_folder, Environment* env);

// "error: MESSAGE" to env->err; returns the exit code.
int Fail(const absl::Status& status, Environment* env);

}  // namespace quantd::cli
