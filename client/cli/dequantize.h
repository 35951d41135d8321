// quantctl dequantize: a quantized folder back into a plain one, original names, through the
// server.
#pragma once

#include "client/cli/command_line.h"
#include "client/cli/environment.h"

namespace quantd::cli {

// Returns the exit code.
int RunDequantize(const DequantizeFlags& flags, Environment* env);

}  // namespace quantd::cli
