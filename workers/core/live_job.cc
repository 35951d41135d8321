#include "workers/core/live_job.h"

namespace quantd {

absl::string_view LiveStageName(LiveStage stage) {
  switch (stage) {
    case LiveStage::kQueued:
      return "queued";
    case LiveStage::kUploading:
      return "uploading";
    case LiveStage::kWaiting:
      return "waiting";
    case LiveStage::kRunning:
      return "running";
    case LiveStage::kSending:
      break;
  }
  return "sending";
}

}  // namespace quantd
