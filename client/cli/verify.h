// quantctl verify: a second opinion on a quantized folder.
#pragma once

#include "client/cli/command_line.h"
#include "client/cli/environment.h"

namespace quantd::cli {

// Reads the folder with the independent decoder and checks: the set of names against the report
// (and the source), dtypes and shapes, digests of every packed tensor, scales finite and not zero,
// decoded values finite; with --source also every error figure of the report, and that what was not
// quantized is the source's byte for byte. Returns the exit code: kExitRuntime when anything does
// not agree.
int RunVerify(const VerifyFlags& flags, Environment* env);

}  // namespace quantd::cli
