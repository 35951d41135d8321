#include "client/cli/interrupts.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "client/cli/exit_codes.h"

namespace quantd::cli {
namespace {

// Wakes the waiting thread at the end of the process; nothing else sends it.
constexpr int kEndSignal = SIGUSR2;

sigset_t Signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, kEndSignal);
  return set;
}

}  // namespace

Interrupts::Interrupts(client::StopSource* stop) {
  const sigset_t set = Signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([stop, set] {
    while (true) {
      int signal = 0;
      if (sigwait(&set, &signal) != 0 || signal == kEndSignal) return;
      if (stop->stopped()) _exit(kExitInterrupted);
      stop->Stop();
    }
  });
}

Interrupts::~Interrupts() {
  pthread_kill(thread_.native_handle(), kEndSignal);
  thread_.join();
}

}  // namespace quantd::cli
