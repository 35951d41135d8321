#include "workers/core/progress.h"

namespace quantd {

absl::string_view PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kUnspecified:
      break;
    case Phase::kQueued:
      return "queued";
    case Phase::kUploading:
      return "uploading";
    case Phase::kPreparing:
      return "preparing";
    case Phase::kSolving:
      return "solving";
    case Phase::kSending:
      return "sending";
  }
  return "unspecified";
}

}  // namespace quantd
