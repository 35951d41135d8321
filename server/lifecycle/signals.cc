#include "server/lifecycle/signals.h"

#include <pthread.h>

#include <csignal>
#include <ctime>

namespace quantd {
namespace {

sigset_t ShutdownSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

pthread_t waiter;

void PassOn(int number) { pthread_kill(waiter, number); }

}  // namespace

void BlockShutdownSignals() {
  const sigset_t set = ShutdownSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  waiter = pthread_self();
  struct sigaction pass_on = {};
  pass_on.sa_handler = PassOn;
  pass_on.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &pass_on, nullptr);
  sigaction(SIGINT, &pass_on, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int ProcessSignals::Wait(absl::Duration timeout) {
  const sigset_t set = ShutdownSignals();
  if (timeout == absl::InfiniteDuration()) {
    int number = 0;
    return sigwait(&set, &number) == 0 ? number : 0;
  }
  const timespec limit = absl::ToTimespec(timeout);
  const int number = sigtimedwait(&set, nullptr, &limit);
  return number > 0 ? number : 0;
}

}  // namespace quantd
