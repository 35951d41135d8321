// Who watches a quantize run: the display, and with --metrics-listen its metrics.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/command_line.h"
#include "client/cli/environment.h"
#include "client/cli/progress_display.h"
#include "client/telemetry/run_endpoint.h"
#include "client/telemetry/run_listener.h"
#include "client/telemetry/run_metrics.h"

namespace quantd::cli {

struct RunSize {
  // Still to do.
  int open_layers = 0;
  client::JobSize open;
  // With those that an earlier run finished.
  int layers = 0;
  uint64_t weights = 0;  // elements
};

class RunWatch {
 public:
  // Both outlive the watch.
  RunWatch(const QuantizeFlags& flags, absl::Time start, Environment* env);

  // Serves metrics from now on, and says where; nothing without --metrics-listen. Errors name the
  // address.
  absl::Status Listen();

  // The work begins; before it, there is nobody to tell.
  void Begin(const RunSize& size);
  ProgressDisplay* display() { return display_.get(); }  // null before Begin
  const client::RunListeners& listeners() const { return listeners_; }

  // Tells all of them: Tell(&RunListener::Begun, 3, 1).
  template <typename... Parameters, typename... Facts>
  void Tell(void (client::RunListener::*event)(Parameters...), const Facts&... facts) const {
    listeners_.Tell(event, facts...);
  }
  // A line on the display.
  void Say(const std::string& line) { display_->Say(line); }

  // Gives a last scrape the time that the user asked for, unless the run never began or was
  // stopped.
  void Linger() const;

 private:
  const QuantizeFlags& flags_;
  const absl::Time start_;
  Environment* const env_;
  client::RunListeners listeners_;
  std::unique_ptr<ProgressDisplay> display_;
  std::shared_ptr<client::RunMetrics> metrics_;    // null without --metrics-listen
  std::unique_ptr<client::RunEndpoint> endpoint_;  // goes first: scrapes ask the display
};

}  // namespace quantd::cli
