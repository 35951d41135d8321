// quantctl quantize and quantctl estimate.
#pragma once

#include <string>
#include <vector>

#include "client/cli/command_line.h"
#include "client/cli/environment.h"
#include "client/cli/report_json.h"

namespace quantd::cli {

// Returns the exit code. With flags.dry_run nothing is written.
int RunQuantize(const QuantizeFlags& flags, Environment* env);

// The final table: a row per layer, then the totals.
std::string LayerTable(const std::vector<LayerRecord>& records);

}  // namespace quantd::cli
