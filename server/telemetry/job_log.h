// One log line a job.
#pragma once

#include <string>

#include "nlohmann/json_fwd.hpp"
#include "workers/core/events.h"

namespace quantd {

// "ok", "degraded", "rejected", "failed", "cancelled", "refused": what became of a job, for metrics
// and logs. A deadline counts as cancelled: the caller stopped waiting.
const char* JobOutcomeName(const JobEvent& event);

// Why the job did not simply end well: the call's message, or the first weight's reason; else "".
std::string JobReason(const JobEvent& event);

// The fields of the job's line: job_id, rpc, method, layout, weight_names, outcome, status, reason,
// bytes_in, bytes_out, weights, predicted_peak_bytes, seconds {upload, queue, ...}, peer,
// traceparent.
nlohmann::json JobLogFields(const JobEvent& event);

}  // namespace quantd
