// What a command gets from the process around it; tests give it strings and a fake server.
#pragma once

#include <functional>
#include <memory>
#include <ostream>

#include "absl/status/statusor.h"
#include "client/lib/channel.h"
#include "client/lib/stop.h"

namespace quantd::cli {

struct Environment {
  std::ostream* out = nullptr;  // results
  std::ostream* err = nullptr;  // progress, warnings, errors
  bool terminal = false;        // err is one: draw a progress bar
  client::StopSource* stop = nullptr;
  std::function<absl::StatusOr<std::unique_ptr<client::Connection>>(const client::ChannelOptions&)>
      connect;
};

}  // namespace quantd::cli
