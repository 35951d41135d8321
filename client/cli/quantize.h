// quantctl quantize and quantctl estimate.
#pragma once

#include "client/cli/command_line.h"
#include "client/cli/environment.h"

namespace quantd::cli {

// Returns the exit code. With flags.dry_run nothing is written.
int RunQuantize(const QuantizeFlags& flags, Environment* env);

}  // namespace quantd::cli
