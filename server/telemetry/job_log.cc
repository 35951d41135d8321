#include "server/telemetry/job_log.h"

#include <string>

#include "nlohmann/json.hpp"

namespace quantd {

std::string JobReason(const JobEvent& event) {
  if (!event.status.ok()) return std::string(event.status.message());
  for (const TensorReport& tensor : event.report.tensors) {
    if (!tensor.reason.empty()) return tensor.name + ": " + tensor.reason;
  }
  return "";
}

const char* JobOutcomeName(const JobEvent& event) {
  if (event.refused) return "refused";
  switch (event.status.code()) {
    case absl::StatusCode::kOk:
      break;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
      return "cancelled";
    default:
      return "failed";
  }
  switch (event.outcome) {
    case Outcome::kDegraded:
      return "degraded";
    case Outcome::kRejected:
      return "rejected";
    default:
      return "ok";
  }
}

nlohmann::json JobLogFields(const JobEvent& event) {
  const StageSeconds& seconds = event.report.seconds;
  nlohmann::json fields = {
      {"job_id", event.job_id},
      {"rpc", event.rpc},
      {"method", event.method},
      {"layout", event.layout},
      {"weight_names", event.weight_names},
      {"outcome", JobOutcomeName(event)},
      {"status", absl::StatusCodeToString(event.status.code())},
      {"reason", JobReason(event)},
      {"bytes_in", event.bytes_in},
      {"bytes_out", event.bytes_out},
      {"weights", event.weights},
      {"predicted_peak_bytes", event.predicted_peak_bytes},
      {"peer", event.peer},
      {"traceparent", event.trace_parent},
  };
  fields["seconds"] = {{"upload", seconds.upload},   {"queue", seconds.queue},
                       {"prepare", seconds.prepare}, {"solve", seconds.solve},
                       {"measure", seconds.measure}, {"total", seconds.total}};
  return fields;
}

}  // namespace quantd
