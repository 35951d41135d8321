// What the server's rooms tell telemetry. Implemented by server/telemetry; tests pass a recorder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "workers/core/live_job.h"
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
  std::string weight_names;  // the first one, and how many more
  std::string trace_parent;  // W3C traceparent as received, or empty
  std::string peer;
  absl::Status status;   // of the call
  bool refused = false;  // before any work; OnReject was told why
  Outcome outcome = Outcome::kUnspecified;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t weights = 0;  // elements quantized
  uint64_t predicted_peak_bytes = 0;
  double predicted_seconds = 0;  // of work, by the cost model; 0 where a state was taken up
  JobReport report;              // empty when the job did not run to its end
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
  // All jobs as they stand, a few times a second.
  virtual void OnLive(const std::vector<LiveJob>& jobs) = 0;
  // No new jobs from here on.
  virtual void OnDrain() = 0;
  // The end of the certificate that the server shows; sent at start and when it changes.
  virtual void OnCertificate(absl::Time not_after) = 0;
};

class NullEventSink : public EventSink {
 public:
  void OnReject(RejectReason, const std::string&) override {}
  void OnJobDone(const JobEvent&) override {}
  void OnQueue(int64_t, uint64_t) override {}
  void OnBudget(uint64_t, uint64_t) override {}
  void OnPool(int, int) override {}
  void OnLive(const std::vector<LiveJob>&) override {}
  void OnDrain() override {}
  void OnCertificate(absl::Time) override {}
};

}  // namespace quantd
