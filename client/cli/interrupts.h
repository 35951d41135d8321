// Ctrl-C and SIGTERM -> the stop switch, outside any signal handler.
#pragma once

#include <thread>

#include "client/lib/stop.h"

namespace quantd::cli {

// For commands that have a folder to leave in order; the others end by the signal itself.
//
// Create it before any other thread: SIGINT and SIGTERM are blocked from then on and wait in a
// thread of their own. The first stops the run; a second ends the process at once with code 130.
class Interrupts {
 public:
  explicit Interrupts(client::StopSource* stop);
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

 private:
  std::thread thread_;
};

}  // namespace quantd::cli
