// A job as it stands now, for gauges and the status page.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "workers/core/progress.h"

namespace quantd {

enum class LiveStage : uint8_t {
  kQueued,     // for memory
  kUploading,  // admitted; its tensors arrive
  kWaiting,    // complete, for a worker
  kRunning,
  kSending,  // results go out
};

inline constexpr LiveStage kLiveStages[] = {LiveStage::kQueued, LiveStage::kUploading,
                                            LiveStage::kWaiting, LiveStage::kRunning,
                                            LiveStage::kSending};

absl::string_view LiveStageName(LiveStage stage);  // "queued", "uploading", ...

struct LiveJob {
  std::string job_id;
  std::string rpc;
  std::string method;
  std::string layout;
  std::string weights;  // the first one's name, and how many more
  LiveStage stage = LiveStage::kQueued;
  Phase phase = Phase::kQueued;
  double fraction = 0;         // of the phase, in [0, 1]
  double eta_seconds = 0;      // until the results begin, as told to the client
  double backlog_seconds = 0;  // of predicted work not done yet; 0 while sending
  double age_seconds = 0;      // since the header
  double stalled_seconds = 0;  // for how long the stream has waited for its client
  uint64_t predicted_peak_bytes = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

}  // namespace quantd
