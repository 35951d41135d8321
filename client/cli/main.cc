#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <optional>

#include "client/cli/commands.h"
#include "client/cli/interrupts.h"
#include "client/lib/connect.h"

int main(int argc, char** argv) {
  // Message buffers of 1 MiB stay in the process instead of being mapped and faulted in again for
  // every message; tensors have mappings of their own.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);

  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error of a write like any other
  quantd::client::StopSource stop;
  const quantd::cli::CommandLine line = quantd::cli::ParseCommandLine(argc, argv);
  std::optional<quantd::cli::Interrupts> interrupts;
  if (quantd::cli::WritesFolder(line)) interrupts.emplace(&stop);
  quantd::cli::Environment env;
  env.out = &std::cout;
  env.err = &std::cerr;
  env.terminal = isatty(STDERR_FILENO) == 1;
  env.stop = &stop;
  env.connect = quantd::client::Connect;
  return quantd::cli::RunCommand(line, &env);
}
