// From a parsed command line to an exit code.
#pragma once

#include "client/cli/command_line.h"
#include "client/cli/environment.h"

namespace quantd::cli {

// The command leaves a folder or a frontier that must stay resumable when a signal comes.
bool WritesFolder(const CommandLine& line);

int RunCommand(const CommandLine& line, Environment* env);

}  // namespace quantd::cli
