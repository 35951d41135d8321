#include "workers/core/events.h"

namespace quantd {

absl::string_view RejectReasonName(RejectReason reason) {
  switch (reason) {
    case RejectReason::kInvalid:
      return "invalid";
    case RejectReason::kNeverFits:
      return "never_fits";
    case RejectReason::kQueueJobs:
      return "queue_jobs";
    case RejectReason::kQueueBytes:
      return "queue_bytes";
    case RejectReason::kQueueTimeout:
      return "queue_timeout";
    case RejectReason::kDraining:
      return "draining";
  }
  return "unknown";
}

}  // namespace quantd
