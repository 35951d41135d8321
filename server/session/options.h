// What a session is given: collaborators, bounds, and how it speaks to the stream's owner.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/admission/admission.h"
#include "workers/core/clock.h"
#include "workers/core/events.h"
#include "workers/core/executor.h"
#include "workers/engine/engine.h"

namespace quantd {

using JobHeader = std::variant<QuantizeJob, MeasureJob, DequantizeJob>;

// Validates the header and makes the job, without memory for its tensors.
using JobFactory = std::function<absl::StatusOr<std::unique_ptr<Job>>(JobHeader header)>;

// Runs `work` later on some thread of a pool, higher priority first. Must not run it at once.
using SubmitFn = std::function<void(int priority, std::function<void()> work)>;

// Everything outlives all sessions. Pointers are required.
struct SessionDeps {
  JobFactory create_job;
  Admission* admission = nullptr;
  SubmitFn ingest;               // short work: checking and copying chunks, a few ms at a time
  SubmitFn compute;              // Job::Run
  Executor* executor = nullptr;  // what jobs spread their rows over
  const Clock* clock = nullptr;
  EventSink* events = nullptr;
  std::string build_id;  // echoed in Final
};

struct SessionOptions {
  // Received chunks that are not yet copied into place. Reading stops at the mark and goes on at
  // half.
  uint64_t inbox_bytes = uint64_t{4} << 20;
  // Result chunks waiting for the write slot. Filling stops at the mark and goes on at half.
  uint64_t outbox_bytes = uint64_t{4} << 20;
  uint64_t chunk_bytes = uint64_t{1} << 20;  // of results

  absl::Duration header_timeout = absl::Seconds(10);
  // An admitted upload must bring `upload_progress_bytes`, or its end, in each such span of time.
  absl::Duration upload_timeout = absl::Seconds(60);
  uint64_t upload_progress_bytes = uint64_t{64} << 10;
  absl::Duration write_timeout = absl::Seconds(60);  // for one response message
  absl::Duration max_call = absl::Hours(24);  // deadline of calls that bring none or a later one

  absl::Duration progress_min_interval = absl::Milliseconds(500);  // when something changed
  absl::Duration progress_max_interval = absl::Seconds(15);        // sign of life
};

// Who calls, for the job's log line.
struct CallInfo {
  std::string peer;
  std::string trace_parent;  // W3C traceparent as received, or empty
  absl::Time deadline = absl::InfiniteFuture();
};

// How a session speaks to the owner of the stream. Called from any thread, one call at a time
// (never two at once), never under a lock; nothing is called after Finish. They may call back into
// the session.
struct SessionCallbacks {
  // OnFrame() said false earlier; read the next frame now.
  std::function<void()> resume_reads;
  // Call NextResponse() and write what it gives.
  std::function<void()> response_ready;
  // Tear the transport down: a write hangs. OnWriteDone(false) and OnCancel() must follow; then
  // Finish is called. Called at most once.
  std::function<void()> abort;
  // The call's status; exactly once, never while a write is in flight, after every response was
  // written when the status is OK. `pushback_ms` goes out as grpc-retry-pushback-ms.
  std::function<void(absl::Status status, std::optional<int64_t> pushback_ms)> finish;
};

}  // namespace quantd
