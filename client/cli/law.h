// quantctl law: what a scaling law says, and the fit of its constants to measured points.
#pragma once

#include "client/cli/command_line.h"
#include "client/cli/environment.h"

namespace quantd::cli {

// Lists the profiles when nothing is asked; else answers for the one of four that is not given.
int RunLaw(const LawFlags& flags, Environment* env);

// Prints the fit with standard errors, and the profile that it makes.
int RunLawFit(const LawFitFlags& flags, Environment* env);

}  // namespace quantd::cli
