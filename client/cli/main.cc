#include <malloc.h>
#include <unistd.h>

#include <iostream>

#include "client/cli/commands.h"
#include "client/cli/interrupts.h"
#include "client/lib/connect.h"

int main(int argc, char** argv) {
  // Message buffers of 1 MiB stay in the process instead of being mapped and faulted in again for
  // every message; tensors have mappings of their own.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);

  quantd::client::StopSource stop;
  quantd::cli::Interrupts interrupts(&stop);
  quantd::cli::Environment env;
  env.out = &std::cout;
  env.err = &std::cerr;
  env.terminal = isatty(STDERR_FILENO) == 1;
  env.stop = &stop;
  env.connect = quantd::client::Connect;
  return quantd::cli::RunCommand(quantd::cli::ParseCommandLine(argc, argv), &env);
}
