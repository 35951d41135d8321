// What the server's rooms tell telemetry. Implemented by server/telemetry; tests pass a recorder.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "workers/core/report.h"

namespace quantd {

enum class RejectReason : uint8_t {
  kInvalid,       // the request itself is wrong
  kNeverFits,     // predicted peak above the whole budget
  kQueueJobs,     // queue full by count
  kQueueBytes,    // queue full by bytes
  kQueueTimeout,  // waited too long for memory
  kDraining,      // the server is going down
};

absl::string_view RejectReasonName(RejectReason reason);  // "invalid", "never_fits", ...

// One finished job, whatever its end.
struct JobEvent {
  std::string job_id;
  std::string rpc;     // "Quantize", "Measure", "Dequantize"
  std::string method;  // "rtn", "gptq", "dequantize"
  std::string layout;
  std::string trace_parent;  // W3C traceparent as received, or empty
  std::string peer;
  absl::Status status;  // of the call
  Outcome outcome = Outcome::kUnspecified;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t weights = 0;  // elements quantized
  uint64_t predicted_peak_bytes = 0;
  JobReport report;  // empty when the job did not run to its end
};

// Called from any thread; must not block.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void OnReject(RejectReason reason, const std::string& method) = 0;
  virtual void OnJobDone(const JobEvent& event) = 0;
  // Gauges, sent on every change.
  virtual void OnQueue(int64_t waiting_jobs, uint64_t waiting_bytes) = 0;
  virtual void OnBudget(uint64_t reserved_bytes, uint64_t budget_bytes) = 0;
  virtual void OnPool(int busy_threads, int threads) = 0;
};

class NullEventSink : public EventSink {
 public:
  void OnReject(RejectReason, const std::string&) override {}
  void OnJobDone(const JobEvent&) override {}
  void OnQueue(int64_t, uint64_t) override {}
  void OnBudget(uint64_t, uint64_t) override {}
  void OnPool(int, int) override {}
};

}  // namespace quantd
