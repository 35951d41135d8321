// From a parsed command line to an exit code.
#pragma once

#include "client/cli/command_line.h"
#include "client/cli/environment.h"

namespace quantd::cli {

int RunCommand(const CommandLine& line, Environment* env);

}  // namespace quantd::cli
